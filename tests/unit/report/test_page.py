"""The page: one file, the same bytes each time, safe with any text, and honest about what is not there."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from copy import deepcopy
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from clew.report import page, words
from clew.report.contents import SECTIONS
from clew.report.experiment import Decisions
from clew.report.sections import confusion, data, headline

VOID = {"meta", "br", "img", "link", "input", "hr"}
CELLS = {"td", "th", "dt", "dd", "li", "p", "span", "summary"}
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}&lt;\u202e\x00]]>--><!--"
QUICK = [Phase.explicit, Phase.generate]  # a page takes a tenth of a second: no shrinking
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


class Parsed(HTMLParser):
    """A strict reading: every tag that opens closes, in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in CELLS:
            self.text += " "
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data


def changed(run, **params):
    """The run with some params replaced, section by section: changed(run, report={"title": "…"})."""
    tree = deepcopy(dict(run.params))
    for section, found in params.items():
        tree[section] |= found
    return dataclasses.replace(run, params=tree)


def said(run, **columns):
    """The run with columns of every prediction replaced."""
    found = {variant: [{**row, **columns} for row in rows] for variant, rows in run.predictions.items()}
    return dataclasses.replace(run, predictions=found)


def part(html: str, name: str) -> str:
    """The text of one section, with plain spaces."""
    inner = html.partition(f'<section id="{name}"')[2].partition("</section>")[0]
    return " ".join(Parsed("<p" + inner + "</p>").text.replace(words.NARROW, " ").replace("\xa0", " ").split())


def test_the_page_is_one_well_formed_file_without_scripts(run):
    """Nothing is fetched, nothing runs, every picture has words, and every link has its place."""
    html = page.render(run)
    parsed = Parsed(html)
    names = {tag for tag, _ in parsed.tags}
    assert names.isdisjoint({"script", "link", "img", "iframe", "object", "form", "image", "use", "foreignobject"})
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    assert "url(" not in html
    assert "@import" not in html
    links = [attributes["href"] for tag, attributes in parsed.tags if tag == "a"]
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    shown = {section.name for section in SECTIONS} - {"reward"}  # which is off in the example
    assert {link for link in links if link.startswith("#")} == {f"#{name}" for name in shown}
    assert {link for link in links if not link.startswith("#")} == {"runtime.html", "model_card.md"}
    assert shown <= set(ids)


def test_the_page_can_be_read_without_eyes(run):
    """Pictures are named or hidden, headings do not skip a level, header cells say what they head."""
    parsed = Parsed(page.render(run))
    depth = 0
    for tag, attributes in parsed.tags:
        if tag == "svg":
            inner = attributes.get("viewbox") is not None  # a part of a picture that is named
            assert inner or attributes.get("aria-hidden") == "true" or attributes.get("aria-label")
        if tag == "th":
            assert attributes.get("scope") in {"col", "row", "rowgroup"}
        if re.fullmatch("h[1-6]", tag):
            assert int(tag[1]) <= depth + 1
            depth = int(tag[1])
    assert [tag for tag, _ in parsed.tags].count("h1") == 1


def test_colours_come_from_the_sheet_alone(run):
    """Baked colours would be wrong in either light or dark."""
    body = page.render(run).partition("<body>")[2]
    assert not re.search(r"(fill|stroke|color|background)\s*[=:]", body.replace("--share", ""))


def test_every_section_file_has_its_template_and_its_line(run):
    folder = Path(page.__file__).parent
    files = {path.stem for path in (folder / "sections").glob("*.py")} - {"__init__"}
    assert files == {section.name for section in SECTIONS}
    assert len(files) >= 11
    assert all((page.TEMPLATES / f"{name}.html").is_file() for name in files)


def test_the_page_holds_nothing_of_the_machine_or_the_moment(run, folder):
    """No path of this computer, no clock: two clones write the same bytes."""
    html = page.render(run)
    assert str(folder) not in html
    assert not re.search(r"20\d\d-\d\d-\d\d|\d\d:\d\d:\d\d", html)
    assert page.render(run) == html


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(scheme):
    """WCAG 2.2 AA: 4.5 to 1 for text, 3 to 1 for what is drawn, in both schemes."""
    sheet = (page.TEMPLATES / "style.css").read_text()
    light, _, rest = sheet.partition("@media screen and (prefers-color-scheme: dark)")
    dark = rest.partition("@media")[0]
    colour = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", light))
    if scheme == "dark":
        colour |= dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", dark))
    for ground in ("paper", "panel"):
        for text in ("ink", "quiet", "link", "better", "worse", "same"):
            assert contrast(colour[text], colour[ground]) >= 4.5, (text, ground)
        assert contrast(colour["accent"], colour[ground]) >= 3


def contrast(a: str, b: str) -> float:
    """The ratio of WCAG 2.2: of two colours' relative luminances, each plus 0.05."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@settings(max_examples=12, deadline=None, phases=QUICK, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(HOSTILE)
@example("שלום עולם \u202e abc")
@example("</style></title></textarea>")
@given(ANY_TEXT)
def test_any_text_is_shown_as_text(run, text):
    """What a row, a model or a param says is never markup: same tags as with harmless text, and the text is there."""
    hostile = said(run, prediction=text, reference=text, groups={"pronoun": text})
    hostile = changed(hostile, report={"title": text, "intended_use": text})
    hostile = dataclasses.replace(hostile, prompts=dict.fromkeys(run.prompts, text))
    parsed = Parsed(page.render(hostile))
    assert {tag for tag, _ in parsed.tags}.isdisjoint({"script", "img", "iframe", "object"})
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    shown = text.translate(page.CONTROLS).strip()
    assert "".join(shown.split()) in "".join(parsed.text.split())


def test_texts_take_their_own_direction(run):
    """Right-to-left text neither turns the page round nor leaks out of its box."""
    hebrew = "הכותב נשמע לחוץ"
    html = page.render(dataclasses.replace(said(run, prediction=hebrew), prompts=dict.fromkeys(run.prompts, hebrew)))
    for line in html.splitlines():
        if hebrew in line and ("<dd" in line or "<p" in line):
            assert "dir=" in line or html.partition(line)[0].rstrip().endswith('<div class="asked" dir="auto">')


def test_a_very_long_post_is_cut_and_says_so(run):
    """The page stays a page: beginning, end, the rest folded, and what is left out counted."""
    post = "beginning " + "middle " * 200_000 + "end"
    html = page.render(dataclasses.replace(run, prompts=dict.fromkeys(run.prompts, post)))
    shown = part(html, "samples")
    assert "beginning" in shown
    assert "middle end" in shown
    assert f"{len(post) - 6000:,}".replace(",", " ") + " more characters are not shown" in shown
    assert len(html) < 400_000


def test_the_headline_says_what_fine_tuning_did(run):
    """Figure, interval, p and words agree with metrics/quality.json."""
    shown = part(page.render(run), "headline")
    entry = run.quality["sft"]["stress"]["accuracy"]["vs_parent"]
    assert entry["low"] > 0  # the example is made so
    assert (
        shown.startswith("What it found Fine-tuning against the base model: better on") or "better on stress" in shown
    )
    assert f"+{100 * entry['difference']:.1f} points" in shown
    assert f"+{100 * entry['low']:.1f} to +{100 * entry['high']:.1f}, p = {entry['p']:.3f}" in shown
    assert "Fairness of aligned" in shown


def test_a_variant_that_is_worse_is_called_worse(run):
    quality = deepcopy(dict(run.quality))
    quality["sft"]["stress"]["accuracy"] |= {
        "vs_parent": {"parent": "base", "difference": -0.2, "low": -0.3, "high": -0.1, "p": 0.001}
    }
    shown = part(page.render(dataclasses.replace(run, quality=quality)), "headline")
    assert "worse on stress (−20.0 points)" in shown


def test_records_are_all_accounted_for(run):
    """The parts of every source's bar sum to its records, and the page shows the ledger's numbers."""
    shown = part(page.render(run), "data")
    for source in ("posts", "visits"):
        records = sum(d.n for d in run.decisions if d.stage == "prepare" and d.source == source)
        kept = sum(d.n for d in run.decisions if d.stage == "split" and d.source == source and d.decision == "kept")
        lost = sum(
            d.n for d in run.decisions if d.stage != "balance" and d.source == source and d.decision == "dropped"
        )
        assert kept + lost == records
        assert f"{records} records" in shown
    assert "label not among values" in shown or "unfit" in shown


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 5000))
def test_the_flow_counts_whatever_the_ledgers_say(run, unfit, cleaned, kept):
    """Any counts, also none: the parts sum to the records."""
    counts = data.of_source(flow(run, unfit, cleaned, kept), "own")["counts"]
    assert counts["records"] == unfit + cleaned + kept == sum(counts[part] for part in data.PARTS)
    assert (counts["unfit"], counts["cleaned away"], counts["train"]) == (unfit, cleaned, kept)


def test_the_flow_is_shown_as_it_was_counted(run):
    shown = part(page.render(flow(run, 3, 40, 1500)), "data")
    assert "own 1 543 3 40 0 1 500 0 0" in " ".join(shown.split())
    assert "prepare odd rule dropped 3" in shown


def test_what_train_knows_of_the_other_sides_is_counted(run):
    known = {"leakage": {"exact": 0, "near": 3}, "contamination": {"test": 12, "quiz": 0}}
    shown = " ".join(part(page.render(dataclasses.replace(run, split={**run.split, **known})), "data").split())
    assert "on two sides of the split: 0 (exact), 3 (near)." in shown
    assert "mostly in train: 0 (quiz), 12 (test)." in shown
    assert "mostly in train" not in part(page.render(run), "data")


def flow(run, unfit, cleaned, kept):
    """The run with the ledgers of one source."""
    found = [
        Decisions("prepare", "own", "dropped", "odd_rule", None, unfit),
        Decisions("prepare", "own", "kept", "mapping", None, cleaned + kept),
        Decisions("clean", "own", "dropped", "odd_rule", None, cleaned),
        Decisions("split", "own", "kept", None, "train", kept),
    ]
    return dataclasses.replace(run, decisions=found)


def test_the_pipeline_shows_how_many_rows_each_stage_left(run):
    """The ledger's kept, changed and added rows; what was dropped is not among them."""
    shown = part(page.render(run), "pipeline")
    for stage, after in (("prepare", "rows"), ("clean", "left"), ("split", "used")):
        left = sum(d.n for d in run.decisions if d.stage == stage and d.decision != "dropped")
        assert any(d.decision == "dropped" for d in run.decisions if d.stage == stage)
        assert f"{stage} {left} {after}" in shown


def test_scores_stand_beside_what_guessing_would_get(run):
    """The commonest label of the test rows, and its share."""
    labels = Counter(row["label"] for row in run.predictions["base"] if row["task"] == "stress")
    (label, n), (_, fewer) = labels.most_common()
    assert n > fewer
    assert f"always answering “{label}” scores {100 * n / labels.total():.1f} %" in part(page.render(run), "quality")


@pytest.mark.parametrize(("low", "high", "even"), [(0.1, 0.3, False), (-0.3, -0.1, False), (-0.1, 0.1, True)])
def test_groups_are_called_uneven_only_when_the_interval_leaves_out_evenness(run, low, high, even):
    """The same in the headline and in the table; a ratio is even at one."""
    found = deepcopy(dict(run.fairness))
    for variant in found.values():
        measured = variant["stress"]["pronoun"]
        measured["statistical_parity_difference"] = {"value": (low + high) / 2, "low": low, "high": high}
        measured["equal_opportunity_difference"] = {"value": 0.0, "low": -0.1, "high": 0.1}
        measured["average_odds_difference"] = {"value": 0.0, "low": -0.1, "high": 0.1}
        measured["disparate_impact"] = {"value": 1.0, "low": 0.9, "high": 1.1}
    html = page.render(dataclasses.replace(run, fairness=found))
    words_of_it = part(html, "fairness").partition("measure base")[2]
    assert words_of_it.count("not even") == (0 if even else len(run.variants))
    headline = part(html, "headline")
    assert ("A difference between the groups is shown" in headline) is not even
    assert ("no proof that there is none" in headline) is even


def test_differences_are_drawn_where_their_figures_say(run):
    """Shares and scores of a hundred lie on one axis in points, with no difference in its middle."""
    built = {step["variant"]: step for step in headline.build(run)["steps"]}["sft"]
    assert built["scale"].place(0) == 50
    for row in built["rows"]:
        assert f"{row['drawn']['value']:+.1f}" == row["difference"].removesuffix(" points").replace("−", "-")
        assert row["drawn"]["low"] <= row["drawn"]["value"] <= row["drawn"]["high"]
        assert row["scale"] == built["scale"]


def test_a_number_that_cannot_be_had_shows_its_reason(run):
    """A null is a dash, and why stands beside it."""
    quality, fairness = deepcopy(dict(run.quality)), deepcopy(dict(run.fairness))
    quality["sft"]["stress"]["accuracy"] = {"value": None, "reason": "every `label` is lost", "n": 0}
    quality["sft"]["stress"]["auc"] = {"value": 0.5, "low": None, "high": None, "reason": "too few", "n": 4}
    fairness["sft"]["stress"]["pronoun"]["disparate_impact"] = {"value": None, "reason": "nothing to divide by"}
    html = page.render(dataclasses.replace(run, quality=quality, fairness=fairness))
    assert "every “label” is lost" in part(html, "quality")
    assert "too few" in part(html, "quality")
    assert "not compared on stress" in part(html, "headline")
    assert "No figure for disparate impact (sft): nothing to divide by" in part(html, "fairness")


def test_metrics_and_tasks_that_the_page_does_not_know_are_shown_all_the_same(run):
    """A new metric or a task that left params.yaml keeps its name and its number."""
    quality = deepcopy(dict(run.quality))
    quality["sft"]["stress"]["brand_new"] = {"value": 0.1234, "low": 0.1, "high": 0.2, "n": 5}
    tasks = {"notes": run.params["prepare"]["tasks"]["notes"]}
    html = page.render(changed(dataclasses.replace(run, quality=quality), prepare={"tasks": tasks}))
    assert "brand new" in part(html, "quality")
    assert "0.123" in part(html, "quality")
    assert "stress" in part(html, "samples")


def test_a_task_without_test_rows_leaves_the_other_tasks_alone(run):
    only = {name: [row for row in rows if row["task"] == "notes"] for name, rows in run.predictions.items()}
    html = page.render(dataclasses.replace(run, predictions=only, fairness={name: {} for name in only}))
    assert "stress" not in part(html, "samples")
    assert "its answers are free text" in part(html, "confusion")
    assert "No audit was asked for" in part(html, "fairness")


def test_alignment_that_was_switched_off_is_called_so(run):
    """Nothing is said about preferences that were never trained on."""
    losses = run.losses | {"align": []}
    off = changed(
        dataclasses.replace(run, losses=losses, training=run.training | {"align": {"enabled": False}}),
        align={"enabled": False},
    )
    html = page.render(off)
    assert "off: passed through" in part(html, "pipeline")
    assert "Switched off" in part(html, "headline")
    assert "Alignment was switched off: the aligned model is the fine-tuned one." in part(html, "training")
    assert "No person was asked" not in part(html, "limits")
    assert 'id="alignment"' not in html


def test_the_base_model_alone_makes_a_page(run):
    one = {"base": run.predictions["base"]}
    html = page.render(dataclasses.replace(run, predictions=one, quality={"base": run.quality["base"]}))
    assert "nothing to compare" in part(html, "headline")


def test_random_weights_are_said_loudly(run):
    html = page.render(changed(run, fetch_model={"random_init": {"hidden_size": 8}}))
    assert "Its weights are random" in part(html, "pipeline")
    assert "No score here says anything about a trained model" in part(html, "limits")


def test_losses_that_are_not_numbers_are_not_drawn(run):
    """A curve with nan or inf keeps its finite points; one with nothing else says so."""
    losses = {
        "reward": [],
        "sft": [{"step": "1", "split": "train", "loss": "nan"}, {"step": "2", "split": "train", "loss": "1.5"}],
        "align": [{"step": "1", "split": "train", "loss": "inf"}],
    }
    html = page.render(dataclasses.replace(run, losses=losses))
    assert "from 1.50 to 1.50" in part(html, "training")
    assert "Alignment It left no loss to draw." in part(html, "training")


def test_the_absolute_average_odds_stand_beside_the_average(run):
    """Alone, the average hides differences that cancel (AIF360#528)."""
    shown = part(page.render(run), "fairness")
    first = shown.index("average odds difference")
    assert "absolute average odds difference" in shown[first : first + 600]
    assert "cancel here" in shown


def test_confusion_counts_every_row_once(run):
    """The cells of a variant's table sum to the rows of its task, and letters and yes/no have a table each."""
    built = confusion.build(run)
    stress = [row for row in run.predictions["sft"] if row["task"] == "stress"]
    tables = {table["variant"]: table for table in built["tasks"][0]["tables"]}
    assert sum(cell["n"] for line in tables["sft"]["lines"] for cell in line["cells"]) == len(stress)
    right = sum(cell["n"] for line in tables["sft"]["lines"] for cell in line["cells"] if cell["right"])
    assert right == sum(row["prediction"] == row["label"] for row in stress)


def test_too_many_answers_make_no_table(run):
    labelled = {
        name: [{**row, "label": str(n), "prediction": "0"} for n, row in enumerate(rows)]
        for name, rows in run.predictions.items()
    }
    assert "different answers" in part(page.render(dataclasses.replace(run, predictions=labelled)), "confusion")


def test_digests_are_whole_and_the_lock_is_named(run):
    """An auditor can copy each digest from the page."""
    shown = part(page.render(run), "digests")
    assert all(digest.sha256 in shown and digest.path in shown for digest in run.digests)
    assert {d.path for d in run.digests} >= {"models/base", "models/int8", "requirements.lock", "data/train.parquet"}
    without = [digest for digest in run.digests if digest.path != "requirements.lock"]
    assert "There is no requirements.lock" in part(page.render(dataclasses.replace(run, digests=without)), "digests")


def test_every_param_is_shown_under_its_full_name(run):
    shown = part(page.render(run), "parameters")
    assert "sft.lora.rank 8" in shown
    assert "fairness.audits[0].privileged he" in shown
    assert "seed 7" in shown
