"""What is printed: terminal, JSON, Markdown, the page, and the exit codes."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from compare_lab import Lab, N
from hypothesis import given, settings
from hypothesis import strategies as st

from clew.cli.main import app
from clew.errors import HistoryError, SetupError
from clew.history.compare import costs, markdown, numbers

NASTY = "\x1b[31m<script>alert(1)</script> | `x` [link](http://e) @all"


@pytest.fixture
def good(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """On branch good: better than main, with a title that would do harm if it could."""
    lab.git("checkout", "-q", "-b", "good")
    lab.commit(NASTY, rate=0.01, wrong=[], code="train(better)\n")
    monkeypatch.chdir(lab.root)
    return lab


def clew(*arguments: str, code: int = 0) -> Result:
    done = CliRunner().invoke(app, ["compare", *arguments], env={"COLUMNS": "140"})
    assert done.exit_code == code, (done.output, done.exception)
    return done


def test_the_table_has_every_section(good: Lab) -> None:
    said = clew("main", "good").stdout.replace("\u202f", " ")
    for part in (
        r"sft\.learning_rate +0\.001 → 0\.01",
        r"src/train\.py changed · sft",
        r"stress\.accuracy +75\.0 → 100\.0 % ▲",
        r"▲ stress\.accuracy@sft better: \+25\.0 points \(",
        r"the same numbers as before: base",
        r"sft\.learning_rate → sft → predict@sft → evaluate: reaches every metric of sft; none of base",
        r"\d+ paired tests on the stored predictions of the same rows, [\d ]+ resamples; better",
    ):
        assert re.search(part, said), part
    assert "\x1b" not in said


def test_the_table_of_many_revisions_says_what_it_left_out(good: Lab) -> None:
    for i in range(12):
        good.commit(f"Step {i}", rate=1.0 + i, wrong=range(i))
    said = clew("main", *(f"good~{i}" for i in range(12))).stdout.replace("\u202f", " ")
    assert re.search(r"sft stress\.accuracy +75\.0 % +8\d\.\d % [=▲]", said)
    assert "left out, for the width of this terminal: " in said
    assert "good~11 (--json, --md or --html has all)" in said
    assert max(map(len, said.splitlines())) <= 140


def test_json_has_everything(good: Lab) -> None:
    found = json.loads(clew("main", "good", "--json").stdout)
    (side,) = found["revisions"]
    assert found["baseline"]["name"] == "main"
    assert side["asked"] == {"sft.learning_rate": {"before": 0.001, "after": 0.01}}
    by_name = {(n["variant"], n["name"]): n for n in side["came_out"]}
    accuracy = by_name["sft", "stress.accuracy"]
    assert (accuracy["verdict"], accuracy["difference"], accuracy["paired"]["n"]) == ("better", 0.25, N)
    assert by_name["base", "stress.accuracy"]["verdict"] == "no difference shown"
    odds = by_name["sft", "stress.pronoun.average_odds_difference"]
    assert (odds["verdict"], odds["reason"]) == (None, "no value before: no false-positive rate")
    assert side["why"][0]["stages"] == ["sft", "predict@sft", "evaluate"]
    assert [commit["title"] for commit in side["code"][0]["commits"]] == [NASTY]


def test_numbers_that_are_not_finite_are_null_in_json(good: Lab) -> None:
    path = good.root / "metrics/quality.json"
    tree = json.loads(path.read_text())
    tree["sft"]["stress"]["log_loss"]["value"] = float("inf")
    path.write_text(json.dumps(tree))
    (side,) = json.loads(clew("good", "--json").stdout, parse_constant=pytest.fail)["revisions"]
    assert next(n for n in side["came_out"] if n["name"] == "stress.log_loss")["difference"] is not None
    clew("good", "--html", "page.html")
    clew("good")


def test_markdown_is_a_comment_in_which_no_title_does_harm(good: Lab) -> None:
    said = clew("main", "good", "--md").stdout
    assert said.startswith("### `main` → `good`")
    assert re.search(r"^\*\*\d+ better\*\*, \*\*0 worse\*\*", said, re.M)
    assert "| ▲ | `stress.accuracy` sft | 75.0 % | 100.0 % | +25.0 points" in said.replace("\u202f", " ")
    outside_code = re.sub(r"`[^`\n]*`", "", said)
    assert "<script>" not in outside_code
    assert "@all" not in outside_code
    rows = [line for line in said.splitlines() if line.startswith("|")]
    widths = {line.replace("\\|", "").count("|") for line in rows}
    assert widths <= {5, 6, 4}


@pytest.mark.parametrize("text", ["a|b", "`x`", "<b>", "@you", "line\nbreak", "*star*", "[a](b)", "#1"])
def test_plain_text_in_markdown_is_only_text(text: str) -> None:
    said = markdown.plain(text)
    assert "\n" not in said
    assert not re.search(r"(?<!\\)[`*\[\]|#]|<|@\w", said)


class Page(HTMLParser):
    """Counts elements, and holds that they are closed and that nothing is fetched."""

    VOID = ("meta", "line", "circle", "rect", "br", "link", "img")

    def __init__(self) -> None:
        super().__init__()
        self.count: dict[str, int] = {}
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        self.fetched += [str(value) for name, value in attrs if name in ("src", "href") and str(value)[:1] != "#"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_stands_alone_and_draws_both_sides(good: Lab) -> None:
    assert clew("main", "good", "--html", "out/page.html").stdout == "wrote out/page.html\n"
    text = Path("out/page.html").read_text()
    page = Page()
    page.feed(text)
    assert (page.open, page.fetched, page.count.get("script", 0)) == ([], [], 0)
    assert page.count["circle"] == 8, "accuracy and parity, of base and sft, on both sides"
    assert "prefers-color-scheme: dark" in text
    assert "width=device-width" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "\x1b" not in text


def test_worse_fails_and_only_what_was_named(good: Lab) -> None:
    clew("main", "good", "--fail-if-worse", "*")
    done = clew("good", "main", "--fail-if-worse", "stress.accuracy@sft", code=1)
    assert "clew: worse: stress.accuracy@sft of main" in done.stderr
    clew("good", "main", "--fail-if-worse", "accuracy", code=1)
    clew("good", "main", "--fail-if-worse", "accuracy@base")


def test_what_could_not_be_judged_is_told_and_is_no_failure(good: Lab) -> None:
    good.commit("Elsewhere", wrong=range(N), rate=0.5, cached=False)
    done = clew("main", "good", "--fail-if-worse", "stress.accuracy@sft")
    assert "clew: not judged: stress.accuracy@sft of good: the predictions" in done.stderr
    said = done.stdout.replace("\u202f", " ")
    assert "no difference is shown" not in said, "nothing was tested, so nothing can be said"
    assert re.search(r"\? stress\.accuracy@sft: 75\.0 % \(6\d\.\d to 8\d\.\d %\) → 0\.0 %", said)


def test_predictions_that_were_replaced_in_the_cache_are_not_judged_and_said_so(good: Lab) -> None:
    locks = [good.git("show", f"{rev}:dvc.lock") for rev in ("main", "good")]
    first, second = (good.place(good.digest(lock, "data/predictions/sft.parquet")) for lock in locks)
    clew("good", "main", "--fail-if-worse", "stress.accuracy@sft", code=1)
    first.chmod(0o644)
    first.write_bytes(second.read_bytes())
    done = clew("good", "main", "--fail-if-worse", "stress.accuracy@sft")
    assert "clew: not judged: stress.accuracy@sft of main: the cache holds another file than" in done.stderr
    assert "so it is not believed" in done.stderr


def test_a_page_that_cannot_be_written_is_one_line(good: Lab) -> None:
    (good.root / "out").mkdir()
    (good.root / "file").write_text("")
    for place, said in (
        ("out", "it is a folder. Name a file"),
        ("file/page.html", "it cannot be written ("),
        ("/proc/page.html", "it cannot be written ("),
        ("x" * 300, "it cannot be written (File name too long)"),
    ):
        done = CliRunner().invoke(app, ["compare", "main", "good", "--html", place])
        assert isinstance(done.exception, SetupError)
        assert said in str(done.exception)
        assert "\n" not in str(done.exception)


def test_names_that_are_not_utf8_are_shown_in_every_form(good: Lab) -> None:
    lock = good.root / "dvc.lock"
    lock.write_text(lock.read_text().replace("path: src/train.py", "path: src/odd"))
    (good.root / "src/odd").mkdir()
    Path(os.fsdecode(b"src/odd/\xff.py")).write_text("new\n")
    good.git("update-ref", os.fsdecode(b"refs/heads/odd-\xff"), "main")
    odd = os.fsdecode(b"odd-\xff")
    clew(odd, "--html", os.fsdecode(b"page-\xff.html"))
    page = Path(os.fsdecode(b"page-\xff.html")).read_text(encoding="utf-8")
    for said in (page, *(clew(odd, *option).stdout for option in ((), ("--md",)))):
        assert "src/odd/\\xff.py" in said
        assert "odd-\ufffd" in said
    assert "src/odd/\\xff.py" in {
        file["path"] for file in json.loads(clew(odd, "--json").stdout)["revisions"][0]["code"]
    }


def test_an_empty_name_is_said_to_be_one(good: Lab) -> None:
    for name in ("", " "):
        done = CliRunner().invoke(app, ["compare", "main", name])
        assert isinstance(done.exception, HistoryError)
        assert "an empty revision. Name a branch" in str(done.exception)


def test_why_is_told_with_its_kind(good: Lab) -> None:
    for option in ((), ("--md",)):
        said = clew("main", "good", *option).stdout.replace("`", "")
        assert "asked: sft.learning_rate → sft → predict@sft → evaluate: reaches" in said
    good.write(wrong=[1, 2, 3], rate=0.01, code="train(better)\n")
    for option in ((), ("--md",)):
        said = clew("good", *option).stdout.replace("`", "")
        assert "made otherwise of the same inputs: sft → predict@sft → evaluate: reaches" in said


def test_names_of_variants_and_stages_are_only_text_in_markdown(good: Lab) -> None:
    view = good.compare("main", "good")
    (side,) = view.sides
    side = side._replace(
        numbers=tuple(number._replace(variant=NASTY) for number in side.numbers),
        code=tuple(file._replace(stages=(NASTY,)) for file in side.code),
    )
    said = markdown.write(view._replace(sides=(side,)))
    outside_code = re.sub(r"`[^`\n]*`", "", said)
    assert "<script>" not in outside_code
    assert "@all" not in outside_code


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fail-if-worse", "stress.acuracy"], "Did you mean stress.accuracy"),
        (["--fail-if-worse", "accuracy@int9"], "no number of that name"),
        (["--fail-if-worse", "accuracy", "--no-tests"], "--no-tests"),
        (["--json", "--md"], "choose one"),
    ],
)
def test_bad_usage_is_exit_code_2(good: Lab, arguments: list[str], said: str) -> None:
    done = clew("main", "good", *arguments, code=2)
    assert said in re.sub(r"[\s│]+", " ", done.stderr)
    assert done.stdout == ""


def test_an_unknown_revision_is_the_error_of_the_boundary(good: Lab) -> None:
    done = CliRunner().invoke(app, ["compare", "main", "goood"])
    assert isinstance(done.exception, HistoryError)


def test_time_is_shown_and_a_record_of_another_run_is_not_believed(good: Lab) -> None:
    folder = good.root / "metrics/runtime"
    folder.mkdir()
    record = {"seconds": 90.0, "peak_memory_bytes": 2e9, "hardware": {"cpu": "Z80", "cores": 1, "gpu": None}}
    (folder / "sft.json").write_text(json.dumps(record))
    (folder / "evaluate.json").write_text(json.dumps({**record, "outs": {"metrics/quality.json": "0" * 64}}))
    side = good.side("good", ".", tests=False)
    assert [(c.stage, c.before, costs.machine(c.after or {})) for c in side.costs] == [("sft", None, "Z80, 1 cores")]
    assert "time and memory: sft – → 1 min 30 s, 2.0 GB" in clew("good", ".").stdout.replace("\u202f", " ")


def test_other_metrics_are_in_json_as_dvc_would_show_them(good: Lab) -> None:
    path = good.root / "dvc.yaml"
    path.write_text(path.read_text().replace("metrics/latency.json", "metrics/sft.json"))
    (good.root / "metrics/sft.json").write_text('{"best": {"loss": 0.5}}')
    (side,) = json.loads(clew("good", ".", "--json").stdout)["revisions"]
    assert side["other_metrics"] == {"metrics/sft.json:best.loss": {"after": 0.5}}


def test_what_training_measured_is_told_with_its_direction(good: Lab) -> None:
    """On both sides: no rows of it are kept, so it is told and not judged."""
    path = good.root / "dvc.yaml"
    path.write_text(path.read_text().replace("metrics/latency.json", "metrics/reward.json"))
    held_out = {"brier": {"value": 0.2, "low": 0.1}, "accuracy": {"value": 0.75}}
    (good.root / "metrics/reward.json").write_text(json.dumps({"held_out": held_out}))
    shown = " ".join(clew("good", ".").stdout.split())
    assert "reward: held_out.accuracy – → 0.75 higher is better, not tested" in shown
    assert "reward: held_out.brier – → 0.2 lower is better, not tested" in shown
    assert "also differ: metrics/reward.json (1)" in shown
    assert "| `reward: held_out.brier` | `–` | `0.2` | lower is better |" in clew("good", ".", "--md").stdout


WRONG = [
    [],
    {"sft": 1},
    {"sft": {"stress": []}},
    {"sft": {"stress": {"f1": 0.5}}},
    {"sft": {"stress": {"f1": {"value": "high", "low": True, "high": [1]}}}},
    {"sft": {"stress": {"f1": {"value": float("nan"), "low": 0.1, "high": float("inf")}}}},
    {"": {"": {"": {"value": 1}}}},
    {"a.b": {"c d": {"e|f": {"value": -1e308, "low": -1e299, "high": 10**400, "n": "many"}}}},
]


@pytest.mark.parametrize("tree", WRONG)
def test_metrics_of_another_form_do_no_harm(good: Lab, tree: Any) -> None:
    for name in ("quality", "fairness", "latency"):
        (good.root / f"metrics/{name}.json").write_text(json.dumps(tree))
    clew("good")
    clew("good", "--md")
    clew("good", "--json", "--html", "page.html")


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=4),
        lambda inner: st.dictionaries(st.sampled_from(["sft", "value", "low", "disparate_impact", "x"]), inner),
        max_leaves=12,
    )
)
def test_whatever_a_metrics_file_holds_values_are_finite_numbers_or_null(tree: Any) -> None:
    for kind in ("quality", "fairness", "time"):
        for (variant, name), entry in numbers.entries(kind, tree if isinstance(tree, dict) else {}):
            assert variant in tree
            assert name.count(".") >= 1
            for key in ("value", "low", "high"):
                assert entry.get(key) is None or abs(entry[key]) < math.inf
            assert numbers.absent(entry, {}) != ""


def test_a_comment_too_long_for_github_goes_without_the_long_tables(good: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = clew("main", "good", "--md").stdout
    assert whole.count("`stress.log_loss`") == 3, "sft's difference, and both variants in the table of all"
    monkeypatch.setattr(markdown, "LIMIT", len(whole) - 10)
    short = clew("main", "good", "--md").stdout
    assert short.count("`stress.log_loss`") == 1
    assert "Too many: see `--json`." in short


def test_nothing_heavy_is_imported_where_no_test_and_no_page_is_wanted(good: Lab) -> None:
    code = (
        "import sys\nfrom clew.cli import main\nsys.argv = ['clew', 'compare', 'main', 'good', '--no-tests']\n"
        "try:\n    main.app()\nexcept SystemExit:\n    pass\nprint('modules', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=good.root, capture_output=True, text=True, check=True)
    table, _, modules = done.stdout.partition("modules ")
    assert "Came out" in table
    heavy = {"numpy", "pyarrow", "pandas", "jinja2", "scipy", "duckdb", "dvc", "torch"}
    assert not heavy & {name.partition(".")[0] for name in modules.split()}


def test_neither_the_repository_nor_the_cache_is_written_to(good: Lab) -> None:
    def everything() -> dict[Path, tuple[int, int]]:
        return {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in good.root.rglob("*")}

    before = everything()
    clew()
    clew("main", "good", "--json")
    assert everything() == before
