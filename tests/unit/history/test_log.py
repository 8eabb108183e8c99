"""clew log and clew best: every experiment of every branch in a table that can be filtered and sorted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew.errors import HistoryError
from clew.history import names, table, where
from examples.history import commit, experiment, git


def _clew(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "clew", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def _json(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    done = _clew(folder, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.fixture
def branches(folder: Path) -> Path:
    """main: 0.1 → 0.50; side: 0.2 → 0.60, then a commit of words only, then 0.3 → 0.55."""
    commit(folder, "First", experiment(0.1, 0.5))
    git(folder, "switch", "-q", "-c", "side")
    commit(folder, "Faster", experiment(0.2, 0.6))
    commit(folder, "Words", {"README.md": "x"})
    commit(folder, "Fastest", experiment(0.3, 0.55))
    git(folder, "switch", "-q", "main")
    return folder


def test_a_line_a_commit_that_changed_something(branches: Path) -> None:
    found = _json(branches, "log")
    assert [line["title"] for line in found] == ["Fastest", "Faster", "First"]
    assert found[0]["labels"] == ["side"]
    assert found[0]["changed"] == {"train.rate": [0.2, 0.3]}
    assert found[0]["values"] == {"metrics/quality.json:sft.stress.f1": 0.55}


def test_the_work_tree_has_a_line_while_it_differs(branches: Path) -> None:
    (branches / "params.yaml").write_text("train:\n  rate: 0.9\n  name: small\n")
    assert _json(branches, "log")[0] | {"values": 0} == {
        "commit": None, "time": None, "author": None, "title": "work tree", "labels": [],
        "changed": {"train.rate": [0.1, 0.9]}, "at_edge": False, "values": 0, "close_to_best": False,
    }  # fmt: skip


def test_filter_sort_columns_and_number(branches: Path) -> None:
    found = _json(branches, "log", "--where", "train.rate >= 0.2 and f1 > 0.5", "--sort", "stress.f1@sft")
    assert [line["title"] for line in found] == ["Faster", "Fastest"]
    assert [line["title"] for line in _json(branches, "log", "--where", "rate = 0.1 or rate = 0.3")] == [
        "Fastest",
        "First",
    ]
    assert [line["title"] for line in _json(branches, "log", "--rev", "main")] == ["First"]
    assert _json(branches, "log", "-n", "1", "--columns", "train.*")[0]["values"] == {
        "train.name": "small",
        "train.rate": 0.3,
    }


def test_the_best_of_a_metric_goes_the_metrics_way(branches: Path) -> None:
    assert _json(branches, "best", "sft.stress.f1", "-n", "1")[0]["title"] == "Faster"
    commit(branches, "Loss", {"metrics/quality.json": '{"loss": 0.2}'})
    commit(branches, "Less", {"metrics/quality.json": '{"loss": 0.1}'})
    assert [line["title"] for line in _json(branches, "best", "loss")] == ["Less", "Loss"]


def test_a_fairness_measure_is_best_where_nothing_differs_and_a_task_may_be_called_loss(branches: Path) -> None:
    for parity, title in ((0.4, "Far"), (0.0, "Even"), (-0.5, "Farthest")):
        gap = f'"pronoun": {{"statistical_parity_difference": {{"value": {parity}}}}}'
        found = f'{{"sft": {{"hearing_loss": {{"accuracy": {{"value": {abs(parity)}}}, {gap}}}}}}}'
        commit(branches, title, {"metrics/quality.json": found})
    assert [line["title"] for line in _json(branches, "best", "statistical_parity_difference")] == [
        *("Even", "Far", "Farthest"),
    ]
    assert _json(branches, "best", "hearing_loss.accuracy@sft")[0]["title"] == "Farthest"


def test_what_lies_within_the_best_ones_interval_is_marked(branches: Path) -> None:
    for value in (0.70, 0.74, 0.60):
        entry = f'{{"value": {value}, "low": {value - 0.05}, "high": {value + 0.05}}}'
        commit(branches, f"At {value}", {"metrics/quality.json": f'{{"sft": {{"stress": {{"f1": {entry}}}}}}}'})
    found = _json(branches, "best", "stress.f1@sft")
    assert [(line["title"], line["close_to_best"]) for line in found] == [
        *(("At 0.74", False), ("At 0.7", True), ("At 0.6", False)),
    ]
    assert "≈ 0.7 [0.65, 0.75]" in _clew(branches, "best", "stress.f1@sft").stdout


def test_titles_are_no_markup_and_nothing_that_a_terminal_obeys(branches: Path) -> None:
    commit(branches, "[/x] \x1b[31mred\x1b]0;pwn\x07 [bold]b :smile:", experiment(0.5, 0.9))
    done = _clew(branches, "log")
    assert done.returncode == 0, done.stderr
    assert "[/x] �[31mred�]0;pwn� [bold]b :smile:" in done.stdout


def test_numbers_that_are_none_are_drawn_as_dots_and_are_null_in_json(branches: Path) -> None:
    commit(branches, "Diverged", {"metrics/quality.json": '{"sft": {"stress": {"f1": NaN}}}'})
    commit(branches, "Overflown", {"metrics/quality.json": '{"sft": {"stress": {"f1": 1e400}}}'})
    assert _clew(branches, "log").returncode == 0
    assert _json(branches, "best", "stress.f1@sft")[0]["title"] == "Faster"
    found = _json(branches, "log", "--columns", "stress.f1@sft", "--rev", "main")
    assert [line["title"] for line in found] == ["Overflown", "Diverged", "First"]
    assert not [value for line in found[:2] for value in line["values"].values() if isinstance(value, float)]


def test_a_commit_whose_files_cannot_be_read_is_named(branches: Path) -> None:
    commit(branches, "Conflict", {"params.yaml": "train: [\n"})
    done = _clew(branches, "log")
    assert done.returncode == 0
    assert "params.yaml: not YAML" in done.stderr
    assert "Fastest" in done.stdout


def test_the_table_is_read_by_people(branches: Path) -> None:
    printed = _clew(branches, "log").stdout
    assert "stress.f1@sft" in printed
    assert "Fastest (train.rate 0.2 → 0.3)" in printed
    assert "▁█▄" in printed
    assert "2 more lines are not shown: -n 3 shows all." in _clew(branches, "log", "-n", "1").stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("log", "sft.stres.f1"), "Nearest: `sft.stress.f1`"),
        (("log", "--where", "train.rate"), "not a comparison"),
        (("log", "--where", "rate ~ ["), "not a regular expression"),
        (("log", "--rev", "sde"), "Did you mean `side`?"),
        (("best", "*"), "names fit"),
    ],
)
def test_what_is_typed_wrong_is_one_line(branches: Path, arguments: tuple[str, ...], told: str) -> None:
    done = _clew(branches, *arguments)
    assert done.returncode == 1
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_index_that_is_damaged_inside_is_made_anew_by_the_question_that_meets_it(branches: Path) -> None:
    whole = _json(branches, "log")
    place = branches / ".clew/history.sqlite"
    content = bytearray(place.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    place.write_bytes(content)
    assert _json(branches, "log") == whole


def test_a_repository_without_commits_or_without_experiments(folder: Path) -> None:
    assert "the repository has no commits" in _clew(folder, "log").stderr
    commit(folder, "Words", {"README.md": "x"})
    assert "No commit changed a param or a metric" in _clew(folder, "log").stderr


KNOWN = ["sft.rate", "sft.lora.rank", "m/q.json:sft.stress.f1.value", "m/q.json:sft.stress.f1.low", "m/l.json:loss"]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("sft.rate", "sft.rate"),
        ("rank", "sft.lora.rank"),
        ("stress.f1@sft", "m/q.json:sft.stress.f1.value"),
        ("sft.stress.f1", "m/q.json:sft.stress.f1.value"),
        ("m/q.json:stress.f1@sft", "m/q.json:sft.stress.f1.value"),
        ("f1.low", "m/q.json:sft.stress.f1.low"),
        ("loss", "m/l.json:loss"),
        ("m/q.json:sft.stress.f1.low", "m/q.json:sft.stress.f1.low"),
        ("params.yaml:sft.rate", "sft.rate"),
    ],
)
def test_a_name_is_found_by_what_people_type(typed: str, found: str) -> None:
    assert names.find(typed, KNOWN) == [found]


def test_names_that_read_alike_are_told_apart() -> None:
    known = ["f1", "m/a.json:f1", "m/b.json:f1"]
    assert names.find("params.yaml:f1", known) == ["f1"]
    assert names.find("m/b.json:f1", known) == ["m/b.json:f1"]
    with pytest.raises(HistoryError, match=r"3 names end so.*`params.yaml:f1`, `m/a.json:f1`, `m/b.json:f1`"):
        names.find("f1", known)


def test_a_whole_name_goes_before_the_end_of_another() -> None:
    assert names.find("a.f1", ["x:a.f1", "x:b.a.f1"]) == ["x:a.f1"]


@pytest.mark.parametrize(
    ("text", "values", "holds"),
    [
        ("f1 > 0.1 AND f1 < 1", {"f1": 0.5}, True),
        ("name = 'a and b'", {"name": "a and b"}, True),
        ('name = "a or b" and f1 = 1', {"name": "a or b", "f1": 1}, True),
        ("modules = [1, 2]", {"modules": "[1,2]"}, True),
        ("on = true", {"on": 1}, True),
        ("name ~ ^lo", {"name": "lora"}, True),
        ("f1 = 1 or f1 = 2 and name = x", {"f1": 1, "name": "y"}, True),
        ("f1 > 1", {"f1": "x"}, False),
    ],
)
def test_expressions(text: str, values: dict[str, Any], holds: bool) -> None:
    assert where.holds(where.parse(text, lambda name: name), values) is holds


@pytest.mark.parametrize("text", ["a =~ b", "a", "a > 1 and", "= 1", "a >> 1"])
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(HistoryError, match="not a comparison"):
        where.parse(text, lambda name: name)


@given(st.text(max_size=20))
def test_any_text_is_a_name_or_told_to_be_none(typed: str) -> None:
    try:
        found = names.find(typed, KNOWN)
    except HistoryError:
        return
    assert found
    assert set(found) <= set(KNOWN)


@given(st.text(st.sampled_from("ab. <>=!~0'\"[andor"), max_size=24))
def test_any_expression_is_evaluated_or_refused(text: str) -> None:
    try:
        expression = where.parse(text, lambda name: name)
    except HistoryError:
        return
    assert where.holds(expression, {"a": 1, "b": "x"}) in (True, False)


def test_a_comparison_of_a_text_with_a_number_is_false() -> None:
    expression = where.parse("a > 1", lambda name: name)
    assert not where.holds(expression, {"a": "x"})
    assert not where.holds(expression, {})


@given(st.lists(st.none() | st.floats(-1e6, 1e6)))
def test_a_sparkline_has_a_sign_for_each_number(values: list[float | None]) -> None:
    drawn = table.sparkline(values)
    assert len(drawn) == len(values)
    assert [sign == "·" for sign in drawn] == [value is None for value in values]
