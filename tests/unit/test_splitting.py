"""A row's side is fixed by its text; nothing that belongs together stands on two sides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clew import params, rows, splitting

SEEDS = st.integers(0, 2**32 - 1)
TEXTS = st.lists(st.text(max_size=6), max_size=30)
LINKED = st.lists(st.tuples(st.integers(0, 12), st.none() | st.sampled_from("abcd")), max_size=25)
"""Rows of few questions, some of them in a cluster."""


def _split(valid: float = 0.2, test: float = 0.3) -> params.Split:
    return params.Split(valid_share=valid, test_share=test, limits={}, leakage=None, contamination=None)


def _draws(some: list[dict[str, Any]], seed: int = 7) -> splitting.Drawn:
    (batch,) = pa.Table.from_pylist(some, schema=rows.SCHEMA).combine_chunks().to_batches() or [
        pa.RecordBatch.from_pylist([], schema=rows.SCHEMA)
    ]
    return splitting.draws(batch, seed)


def _row(text: str | None, *options: str) -> dict[str, Any]:
    return {"text": text, "options": options or None}


def _asked(row: dict[str, Any]) -> str | None:
    return rows.question(row["text"], row["options"])


FIRST = _row("Alloys are\n\ncleaned by\nA. Acid\n(2)  Heat ", "Heat", "Acid")
AGAIN = _row("alloys are cleaned by:\nA. acid \nB. Heat\nC. sand", "acid", "Heat", "sand")
WHOLE = [
    _row("A. Acid\nB. Heat", "Heat", "Acid"),  # nothing but options
    _row("How\nare\nyou", "well", "ill"),  # the options are no part of the text
]


def test_a_question_is_one_group_whatever_its_options_are() -> None:
    assert _asked(FIRST) == "Alloys are\ncleaned by"
    group, own = _draws([_row("What is this?"), FIRST, AGAIN, _row("Alloys are cleaned by")])
    assert len({*group[1:].tolist()}) == 1
    assert group[0] != group[1]
    assert len({*own.tolist()}) == 4


@pytest.mark.parametrize("row", WHOLE)
def test_other_texts_are_their_own_group(row: dict[str, Any]) -> None:
    assert _asked(row) is None
    assert _draws([row]).group == _draws([_row(row["text"])]).group


@given(TEXTS, TEXTS, SEEDS)
def test_a_draw_follows_the_text_and_the_seed_alone(texts: list[str], more: list[str], seed: int) -> None:
    before = _draws([_row(text) for text in texts], seed).group.tolist()
    after = _draws([*(_row(text) for text in [*more, *reversed(texts)]), FIRST], seed).group.tolist()
    assert before == after[len(more) : -1][::-1]
    assert (len(set(before)) == len({rows.normalise(text) for text in texts})) or not texts


def test_rows_without_a_text_are_drawn_too() -> None:
    assert len(_draws([_row(None), _row("")]).group) == 2


def test_shares_are_kept_about_in_each_label_too() -> None:
    sides = splitting.sides(_draws([_row(str(number)) for number in range(5000)]).group, _split(0.1, 0.2))
    for some in (sides, sides[::2], sides[1::2]):
        assert abs(np.mean(some == splitting.TEST) - 0.2) < 0.025
        assert abs(np.mean(some == splitting.VALID) - 0.1) < 0.02


def test_a_larger_share_takes_rows_out_of_train_only() -> None:
    group = _draws([_row(str(number)) for number in range(500)]).group
    before, after = splitting.sides(group, _split(0.1, 0.2)), splitting.sides(group, _split(0.2, 0.4))
    moved = before != after
    assert moved.any()
    assert (before[moved] == splitting.TRAIN).all()


def _linked(some: list[tuple[int, str | None]]) -> tuple[np.ndarray, list[str | None]]:
    group = np.array([question * 1000003 % 97 for question, _ in some], dtype=np.uint64)
    clusters = [cluster for _, cluster in some]
    return splitting.linked(group, pa.array(clusters, type=pa.string())), clusters


def _components(some: list[tuple[int, str | None]]) -> list[int]:
    """The position of the first row that each row is linked to, the plain way."""
    first = list(range(len(some)))
    for _ in some:
        for i, (question, cluster) in enumerate(some):
            for j, (other, its) in enumerate(some):
                if question == other or (cluster is not None and cluster == its):
                    first[i] = first[j] = min(first[i], first[j])
    return first


@settings(deadline=None)
@given(LINKED)
def test_no_question_and_no_cluster_is_on_two_sides_and_the_first_row_decides(
    some: list[tuple[int, str | None]],
) -> None:
    together, clusters = _linked(some)
    sides = splitting.sides(together * np.uint64(2**57), _split())
    questions = np.array([question for question, _ in some], dtype=np.int64)
    assert not len(splitting.leaks(questions, sides))
    inside = np.array([cluster is not None for cluster in clusters], dtype=bool)
    assert not len(splitting.leaks(np.array([ord(c) for c in clusters if c], dtype=np.int64), sides[inside]))
    own, _ = _linked([(question, None) for question, _ in some])
    assert together.tolist() == [own[first] for first in _components(some)]


@settings(deadline=None)
@given(LINKED, LINKED)
def test_rows_that_are_added_behind_move_none_unless_they_link_two_groups(
    some: list[tuple[int, str | None]], more: list[tuple[int, str | None]]
) -> None:
    before, _ = _linked(some)
    after, _ = _linked([*some, *more])
    groups = _components([*some, *more])[: len(some)]
    joined = {group for was, group in zip(_components(some), groups, strict=True) if was != group}
    for position, group in enumerate(groups):
        if group not in joined:
            assert before[position] == after[position]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=20))
def test_a_leak_is_found(some: list[tuple[int, int]]) -> None:
    groups, sides = (np.array([one[i] for one in some], dtype=np.int64) for i in range(2))
    two = sorted({g for g, side in some for other, its in some if g == other and side != its})
    assert splitting.leaks(groups, sides.astype("i1")).tolist() == two


@given(st.lists(st.integers(1, 500), min_size=1, max_size=12), st.floats(0, 1))
def test_seats_are_shared_out_by_size(sizes: list[int], share: float) -> None:
    seats = int(share * sum(sizes))
    found = splitting.apportion(np.array(sizes), seats)
    assert found.sum() == seats
    assert (found <= sizes).all()
    assert (abs(found - np.array(sizes) * seats / sum(sizes)) < 1).all()


LABELS = st.lists(st.sampled_from(["yes", "no", None]), max_size=40)
LIMIT = params.Sides(train=5, valid=2, test=3)


def _kept(labels: list[str | None], number: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Which rows stay, and the sides; row i of these labels has the same draw and side whatever stands beside it."""
    given = [{"row_id": str(i), "task": "t", "label": label} for i, label in enumerate(labels, number)]
    table = pa.Table.from_pylist(given, schema=rows.SCHEMA).select(["row_id", "task", "label"])
    own = np.array([(i + 1) * 2654435761 % 1009 for i in range(number, number + len(labels))], dtype=np.uint64)
    sides = np.array([i % 3 for i in range(number, number + len(labels))], dtype=np.int8)
    return splitting.within_limits(table, sides, own, {"t": LIMIT, "u": LIMIT}), sides


@given(LABELS)
def test_limits_hold_and_each_label_keeps_its_share(labels: list[str | None]) -> None:
    stays, sides = _kept(labels)
    names = np.array([label or "" for label in labels])
    for code, limit in enumerate((5, 2, 3)):
        there = sides == code
        assert (stays & there).sum() == min(there.sum(), limit)
        for name in set(names[there].tolist()):
            n = (there & (names == name)).sum()
            assert abs((stays & there & (names == name)).sum() - n * min(limit / there.sum(), 1)) < 1


@given(LABELS, st.sampled_from(["yes", "no"]), st.integers(0, 20))
def test_of_a_label_alone_a_row_that_comes_later_can_only_displace(labels: list[str], one: str, more: int) -> None:
    """With several labels a label may also win a row when it grows: the shares follow the labels."""
    before, _ = _kept([one] * len(labels))
    after, _ = _kept([one] * (len(labels) + more))
    assert not (after[: len(labels)] & ~before).any()


@given(LABELS, st.randoms())
def test_the_rows_that_stay_do_not_follow_the_order_of_the_rows(labels: list[str | None], random: Any) -> None:
    given = [{"row_id": str(i), "task": "t", "label": label} for i, label in enumerate(labels)]
    order = random.sample(range(len(labels)), len(labels))
    kept = []
    for some in (range(len(labels)), order):
        table = pa.Table.from_pylist([given[i] for i in some], schema=rows.SCHEMA).select(["row_id", "task", "label"])
        own = np.array([i % 4 for i in some], dtype=np.uint64)  # draws that are equal: the row_id decides
        stays = splitting.within_limits(table, np.zeros(len(labels), dtype=np.int8), own, {"t": LIMIT})
        kept.append({given[i]["row_id"] for i, stay in zip(some, stays, strict=True) if stay})
    assert kept[0] == kept[1]
