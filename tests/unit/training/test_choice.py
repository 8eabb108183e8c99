"""Which rows become preference pairs, and the reason that the ledger has for each of the others."""

from __future__ import annotations

import pytest

from clew import ledger
from clew.errors import DataError
from clew.training import choice
from examples import tiny_model


def _take(row: choice.Row) -> str:
    if len(row["rejected"]) > 100:
        raise choice.Unfit("too_long", "101 tokens")
    return str(row["row_id"])


def _choose(given: list[dict[str, object]], tasks: tuple[str, ...], limit: int) -> choice.Choice[str]:
    return choice.choose(given, tasks, limit, choice.check_pair, _take, "align.tasks")


def test_rows_come_evenly_from_the_tasks_and_do_not_follow_the_rows_order() -> None:
    given = tiny_model.rows(6) + [tiny_model.row(n, task="exam") for n in range(10, 12)]
    chosen = _choose(given, ("stress", "exam"), 5)
    assert [row["task"] for row in chosen.rows].count("exam") == 2
    assert chosen.rows == _choose(given[::-1], ("stress", "exam"), 5).rows


def test_rows_that_are_no_pairs_stand_in_the_ledger_with_their_reason() -> None:
    given = [
        tiny_model.row(0, rejected="yes"),
        tiny_model.row(1, rejected=" yes\n"),
        tiny_model.row(2, rejected="  "),
        tiny_model.row(3, completion="", rejected="no"),
        tiny_model.row(4, rejected=None),
        tiny_model.row(5, rejected="no " * 50),
        tiny_model.row(6, task="exam"),
        *[tiny_model.row(number) for number in range(7, 11)],
        tiny_model.row(7) | {"origin": {"file": "other.jsonl", "record": 0}},
    ]
    chosen = _choose(given, ("stress",), 3)
    entries = choice.entries(given, chosen, ("stress",), "align", {f"{9:064x}"})
    told = [(entry["decision"], entry["rule"]) for entry in entries]
    assert told[:7] == [
        ("dropped", "same_answers"),
        ("dropped", "same_answers"),
        ("dropped", "empty_answer"),
        ("dropped", "empty_answer"),
        ("dropped", "no_rejected_answer"),
        ("dropped", "too_long"),
        ("dropped", "other_task"),
    ]
    assert told[7:] == [
        ("dropped", "duplicate"),
        ("kept", None),
        ("changed", "cut"),
        ("dropped", "limit"),
        ("kept", None),
    ]
    assert {entry["detail"] for entry in entries if entry["rule"] == "too_long"} == {"101 tokens"}
    book = ledger.Book("align", lambda _: None)
    book.put(ledger.pa.Table.from_pylist(entries, schema=ledger.SCHEMA))
    book.check(rows_in=len(given), rows_out=len(chosen.rows))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([tiny_model.row(0, rejected=None)], "no training row of task `exam` has a rejected answer.*rejected: true"),
        ([], "task `exam` has no training row"),
        (
            [tiny_model.row(0, task="exam", rejected="yes"), tiny_model.row(1, task="exam", rejected="no" * 99)],
            r"no training row of task `exam` can be used \(same_answers 1, too_long 1\)",
        ),
    ],
)
def test_a_task_without_a_pair_is_told_with_the_reasons(given: list[dict[str, object]], said: str) -> None:
    others = [row | {"task": "exam"} for row in given]
    with pytest.raises(DataError, match=said):
        _choose([*others, *tiny_model.rows(3)], ("stress", "exam"), 8)
