"""What the page shows of cleaning is what the ledger and the rows say, and no personal data as it came."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from clew import io, ledger, params, paths, rows
from clew.report import cleaned, page
from clew.report.cleaned import Cleaned, Example
from clew.report.experiment import Decisions, Experiment
from clew.report.sections import cleaning, data
from examples import noisy_posts


def _shown(run: Experiment, **values: object) -> str:
    """The section's HTML, of an experiment with other values."""
    env = page.environment()
    return env.get_template("cleaning.html").render(cleaning.build(replace(run, **values)))  # type: ignore[arg-type]


def _examples(p: params.Params) -> Mapping[str, Sequence[Example]]:
    """What the page shows of a run over the records that lie there."""
    noisy_posts.run(p)
    rows.write(paths.TRAIN, rows.read(paths.CLEAN))
    return cleaned.read(p.clean.model_dump(mode="json")).examples


def test_a_funnel_ends_at_the_rows_that_the_split_has(run: Experiment) -> None:
    for source in run.params["fetch_data"]["sources"]:
        steps = cleaning.funnel(run, source)["steps"]
        used = sum(d.n for d in run.decisions if (d.stage, d.source, d.decision) == ("split", source, "kept"))
        assert steps[-1]["left"] == used
        assert all(before["left"] - after["taken"] == after["left"] for before, after in pairwise(steps))


def test_the_offending_part_is_marked_and_long_texts_are_cut(run: Experiment) -> None:
    text = "a" * 1000 + "<b>" + "c" * 1000
    one = Example("0" * 64, "s", text, "changed", 3.0, 2.0, "markup", 1000, 1003)
    html = _shown(run, cleaned=Cleaned({"hygiene": [one]}, {}))
    assert "<mark>&lt;b&gt;</mark>" in html
    assert "a" * 161 not in html
    assert "score 3, threshold 2" in html


def test_labels_are_counted_before_and_after(run: Experiment, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    found = cleaned.read(run.params["clean"]).balance["posts"]["stress"]
    for place, path in enumerate((paths.ROWS, paths.CLEAN, paths.TRAIN)):
        for label in ("yes", "no"):
            here = [row for row in rows.read(path) if (row["task"], row["label"]) == ("stress", label)]
            assert found[label][place] == len(here)
    assert "Labels before and after" in _shown(run)


def test_annotators_are_shown_the_best_first(run: Experiment) -> None:
    people = {"ada": {"n": 10, "quality": 0.5}, "bo": {"n": 12, "quality": 0.9}}
    html = _shown(run, clean={**run.clean, "annotators": {"stress": {"alpha": 0.71, "annotators": people}}})
    assert html.index("bo") < html.index("ada")
    assert "0.71" in html


def test_examples_are_the_surest_of_each_rule_and_stand_as_they_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    noisy_posts.write()
    found = _examples(noisy_posts.declared())
    doubted = [entry for entry in ledger.read("clean") if entry["rule"] == "label_noise"]
    assert [one.score for one in found["label_noise"]] == sorted(entry["score"] for entry in doubted)[:3]
    assert found["length"][0].text == "far too short"


def test_personal_data_is_on_the_page_only_masked_whatever_rule_found_the_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    noisy_posts.write()
    with (paths.RAW / "dreaddit/posts.jsonl").open("a") as file:
        file.write('{"text": "mail ann@example.org", "label": "1"}\n')
        file.write('{"text": "please do mail me at bo@example.org about the garden", "label": "1"}\n')
    personal = {"action": "fix", "entities": ["EMAIL_ADDRESS"], "region": "US", "recogniser": None, "threshold": 0.5}
    examples = _examples(noisy_posts.declared(personal_data=personal))
    shown = {rule: [one.text for one in some] for rule, some in examples.items()}
    assert "mail <EMAIL_ADDRESS>" in shown["length"]
    assert shown["personal_data"] == ["please do mail me at <EMAIL_ADDRESS> about the garden"]
    asked = noisy_posts.declared(personal_data=personal | {"recogniser": "dreaddit"})
    hidden = cleaned.read(asked.clean.model_dump(mode="json")).examples
    assert {one.text for some in hidden.values() for one in some} == {None}


def test_a_classifier_that_knows_nothing_is_given_no_accuracy_on_the_page(run: Experiment) -> None:
    why = "nothing is doubted: 0.558 is no better than always the same answer, 0.552"
    figures = {"accuracy": None, "noise": None, "action": None, "doubted": 0, "n": 500, "why": why}
    known = {"accuracy": 0.79, "action": "downweight", "doubted": 44, "n": 90, "why": "accuracy 0.790 is below 0.9"}
    found = data.build(replace(run, clean={**run.clean, "label_noise": {"abstracts": figures, "stress": known}}))
    html = " ".join(page.environment().get_template("data.html").render(found).split())
    assert f"Labels of <strong>abstracts</strong>: {why}." in html
    assert "they were kept with less weight, since its accuracy 0.790 is below 0.9." in html


HYGIENE = {"action": "fix", "markup": True}
EMAILS = {"action": "fix", "entities": ["EMAIL_ADDRESS"], "region": "US", "recogniser": None, "threshold": 0.5}


def _write(*texts: str) -> None:
    """Posts, and these texts."""
    noisy_posts.write()
    with (paths.RAW / "dreaddit/posts.jsonl").open("a") as file:
        file.write("".join(json.dumps({"text": text, "label": "1"}) + "\n" for text in texts))


@pytest.mark.parametrize("action", ["fix", "review"])
@pytest.mark.parametrize(
    "hidden", ["ann&#64;secret-example.org", "ann@sec\u200bret-example.org", '<a href="mailto:ann@secret.org">Ann</a>']
)
def test_damage_hides_no_personal_data_from_the_page(
    hidden: str, action: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _write(f"please write to me at {hidden} about it", f"{hidden} &nbsp;", "a <b>bold</b> one about the garden party")
    hygiene = HYGIENE | {"action": action}
    examples = _examples(noisy_posts.declared(hygiene=hygiene, personal_data=EMAILS, label_noise=None))
    shown = [one.text for some in examples.values() for one in some]
    assert not [text for text in shown if text and "secret" in text.replace("\u200b", "")]
    (marked,) = [one for one in examples["hygiene"] if one.start is not None]
    assert marked.text == "a <b>bold</b> one about the garden party"
    assert marked.text[marked.start : marked.end] == "<b>bold</b>"


@pytest.mark.parametrize(
    "hidden", ["<!-- ann@sec\u200bret-example.org -->", "<script>m='ann&#64;secret-example.org'</script>"]
)
@pytest.mark.parametrize("around", ["", "a line about the garden party "])
def test_what_markup_hides_is_not_shown_where_damage_hides_it_from_the_mask(
    hidden: str, around: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _write(f"{around}{hidden}")
    examples = _examples(noisy_posts.declared(hygiene=HYGIENE, personal_data=EMAILS, label_noise=None))
    (one,) = examples["hygiene"]
    assert (one.text or "").strip() == around.strip()


def test_what_a_rule_marks_is_marked_in_the_text_as_the_rule_saw_it_around_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    again = "take one pill a day " * 4
    _write(f"{'&nbsp;' * 8}Dear ann@example.org and bo@example.org, {again}", "or write to cy@example.org about it")
    repetition = {"action": "drop", "threshold": 0.4}
    rules = {"hygiene": HYGIENE, "repetition": repetition, "personal_data": EMAILS, "label_noise": None}
    examples = _examples(noisy_posts.declared(**rules))
    one = next(one for one in examples["repetition"] if one.text and "Dear" in one.text)
    assert one.text is not None
    assert one.text.strip().startswith("Dear <EMAIL_ADDRESS> and <EMAIL_ADDRESS>, take one")
    assert one.text[one.start : one.end].startswith("take one pill a day")
    (one,) = examples["personal_data"]
    assert (one.text, one.start, one.end) == ("or write to <EMAIL_ADDRESS> about it", 12, 27)


def test_rules_stand_in_their_order_with_rows_that_another_rule_decided_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    noisy_posts.write()
    path = paths.RAW / "dreaddit/posts.jsonl"
    path.write_text(path.read_text().replace('"post ', '"&nbsp; post '))
    noise = noisy_posts.declared().clean.model_dump(mode="json")["label_noise"] | {"otherwise": "downweight"}
    examples = _examples(noisy_posts.declared(hygiene=HYGIENE, label_noise=noise))
    assert list(examples) == ["hygiene", "length", "label_noise"]
    doubted = {one.row_id for one in examples["label_noise"]}
    decided = {entry["row_id"] for entry in ledger.read("clean") if entry["rule"] == "hygiene"}
    found = data.rules(_with(clean=io.read_json(paths.CLEAN_METRICS)))
    changed = {line["rule"]: line["n"] for line in found if line["decision"] == "changed"}
    assert changed["hygiene"] == 120 == len(decided) + changed["label noise"]
    assert doubted


def _with(clean: Mapping[str, object]) -> Experiment:
    """What data.rules reads, of posts."""
    prepared = io.read_json(paths.PREPARE_METRICS)
    decisions = [Decisions("clean", "dreaddit", "changed", "hygiene", None, 1)]
    return SimpleNamespace(prepare=prepared, clean=clean, decisions=decisions)  # type: ignore[return-value]


def test_examples_and_labels_are_shown_by_source(run: Experiment) -> None:
    one = Example("0" * 64, "posts", "a", "dropped", 3.0, 2.0, None, None, None)
    shares = {"posts": {"stress": {"yes": (4, 2, 1)}}, "visits": {"stress": {"yes": (8, 4, 2)}}}
    html = _shown(run, cleaned=Cleaned({"length": [one, one._replace(source="visits")]}, shares))
    assert html.count("<details") == 1
    assert html.index("<strong>posts</strong></p>") < html.index("<strong>visits</strong></p>")
    for source in ("posts", "visits"):
        assert f'stress<br><span class="quiet">{source}</span></th>' in html


def test_who_decided_is_not_named_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    noisy_posts.write()
    p = noisy_posts.declared()
    noisy_posts.run(p)
    told = {
        "row_id": rows.read(paths.ROWS)[5]["row_id"],
        "decision": "drop",
        "by": "eve@example.org",
        "on": "2026-03-01",
    }
    paths.REVIEW_DECISIONS.mkdir(parents=True)
    (paths.REVIEW_DECISIONS / "a.jsonl").write_text(json.dumps(told) + "\n")
    examples = _examples(p)
    assert [(one.row_id, one.decision, one.detail) for one in examples["review"]] == [(told["row_id"], "dropped", None)]
    assert next(iter(examples)) == "review"


def test_a_record_that_two_tasks_read_is_counted_as_one_record(run: Experiment) -> None:
    asked = [replace(d, n=2 * d.n) for d in run.decisions if (d.stage, d.source) == ("prepare", "posts")]
    steps = cleaning.funnel(replace(run, decisions=asked), "posts")["steps"]
    assert (steps[0]["name"], steps[0]["left"]) == ("rows asked of 403 records", 806)
    assert cleaning.funnel(run, "posts")["steps"][0]["name"] == "records"
