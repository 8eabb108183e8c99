"""Where a row stands in its file: the same as looking for it, in whatever order the rows lie and however often."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clew.errors import DataError
from clew.lineage import arrow, row_files, row_ids, row_order, rowsets
from clew.lineage.rowsets import IN, Group

N = 132_000
IDS = np.random.default_rng(5).bytes(32 * N)
"""Row ids of three pieces."""
COLUMNS = ("decision", "rule", "score", "file", "record", "text")


def _hex(ordinal: int) -> str:
    return IDS[32 * ordinal :][:32].hex()


def _bytes(ordinals: list[int]) -> bytes:
    return b"".join(IDS[32 * ordinal :][:32] for ordinal in ordinals)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rowsets.RowSets]:
    """A dictionary that has all IDS, in their order."""
    with rowsets.opened(tmp_path_factory.mktemp("sets") / "rows.sqlite") as made:
        made.add("all", IDS, [Group(IN, None, np.arange(N))])
        yield made


names = map("file{}".format, itertools.count())
numbers = st.integers(65_500, 65_600) | st.integers(0, 40) | st.integers(131_000, 131_020)
orders = st.lists(numbers, max_size=60) | st.sets(numbers, max_size=60).map(sorted)


def _table(ordinals: list[int], draw: np.random.Generator) -> pa.Table:
    n = len(ordinals)
    decisions = ["kept" if one else "dropped" for one in draw.integers(0, 3, n)]
    return pa.table(
        {
            "row_id": pa.array([_hex(one) for one in ordinals], pa.string()),
            "decision": pa.array(decisions, pa.string()),
            "rule": pa.array([["length", None][k] for k in draw.integers(0, 2, n)], pa.string()),
            "score": pa.array([None if x < 0.3 else float(x) for x in draw.random(n)], pa.float64()),
            "file": pa.array(["a.csv"] * n, pa.string()),
            "record": pa.array(np.arange(n), pa.int64()),
            "text": pa.array([f"text {k}" for k in range(n)], pa.string()),
        }
    )


def test_the_dictionary_has_the_order_in_which_rows_were_met(sets: rowsets.RowSets) -> None:
    assert [sets.ordinal(_hex(k)) for k in (0, 1, 65_536, N - 1)] == [0, 1, 65_536, N - 1]
    words = row_ids._words(_bytes([9, 3, 9, 5, 3]))
    assert row_ids._distinct(words).tolist() == words[[0, 1, 3]].tolist()


@settings(max_examples=200, deadline=None)
@given(order=orders, asked=st.lists(numbers, max_size=20), group=st.integers(1, 9), seed=st.integers(0, 99))
def test_a_place_that_is_known_gives_what_a_search_gives(
    sets: rowsets.RowSets, tmp_path_factory: pytest.TempPathFactory, order: list[int], asked: list[int], group: int,
    seed: int,
) -> None:  # fmt: skip
    name, path = next(names), tmp_path_factory.getbasetemp() / "rows.parquet"
    pq.write_table(_table(order, np.random.default_rng(seed)), path, row_group_size=group)
    row_files.add(sets, name, path)
    positions = sets.positions(name, asked)
    assert positions == {one: [at for at, k in enumerate(order) if k == one] for one in set(asked) & set(order)}
    wanted = {_hex(one): some for one, some in positions.items()}
    searched = row_files.details(path, {_hex(one) for one in asked}, COLUMNS)
    for batch, few, columns in ((2, 1, COLUMNS), (3, 8, (*COLUMNS, "row_id")), (1 << 14, 0, (*COLUMNS, "row_id"))):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(arrow, "BATCH", batch)
            patch.setattr(arrow, "FEW", few)
            found, decoded = row_files.details_at(path, wanted, columns)
        assert found == searched
        assert min(1, len(wanted)) <= decoded <= len(order)
        if len(wanted) == 1 == sum(map(len, wanted.values())):
            assert decoded <= min(batch, group) + group


def test_rows_of_a_file_that_are_in_no_group_do_not_count(sets: rowsets.RowSets) -> None:
    sets.add("some", _bytes([1, 2, 3, 4, 9]), [Group("kept", None, np.array([1, 4])), Group("x", None, np.array([3]))])
    assert sets.positions("some", range(12)) == {2: [1], 4: [3], 9: [4]}
    assert sets.positions("nothing of the kind", [1]) is None


def test_a_million_rows_in_order_take_no_room_and_those_thrown_about_are_not_kept(sets: rowsets.RowSets) -> None:
    draw = np.random.default_rng(7)
    kept = np.flatnonzero(draw.random(N) < 0.95)
    moved = np.concatenate([kept[90_000:], kept[:90_000], kept[:50]])  # another source first, and some rows twice
    thrown = draw.permutation(kept)

    def steps() -> int:
        return int(sets.database.execute("SELECT coalesce(sum(length(bits)), 0) FROM steps").fetchone()[0])

    before = steps()
    sets.add("kept", _bytes(kept.tolist()), [Group(IN, None, np.arange(len(kept)))])
    assert steps() == before
    for name in ("moved", "moved again"):
        sets.add(name, _bytes(moved.tolist()), [Group(IN, None, np.arange(len(moved)))])
        assert 0 < steps() - before < 1_000
    sets.add("thrown", _bytes(thrown.tolist()), [Group(IN, None, np.arange(len(thrown)))])
    assert steps() - before < 5_000  # of the last piece, which has few rows
    assert sets.positions("thrown", kept[:1].tolist()) is None
    asked = [*kept[:60].tolist(), *kept[-40:].tolist(), *kept[88_000:91_000:100].tolist()]
    for name, order in (("kept", kept), ("moved", moved), ("moved again", moved)):
        assert sets.positions(name, asked) == {one: np.flatnonzero(order == one).tolist() for one in asked}


def test_an_order_that_does_not_add_up_makes_the_index_anew(tmp_path: Path) -> None:
    for damage in ("UPDATE steps SET bits = x'00'", "DELETE FROM steps", "UPDATE files SET pieces = x'0000'"):
        with rowsets.opened(tmp_path / "rows.sqlite") as made:
            made.add("one", _bytes([3, 1, 2, 1]), [Group(IN, None, np.arange(4))])
            made.add("two", _bytes([1, 3, 2]), [Group(IN, None, np.arange(3))])
            assert made.positions("two", [0, 1, 2]) == {0: [1], 1: [0], 2: [2]}
            made.database.execute(damage)
            with pytest.raises(sqlite3.DatabaseError, match="does not add up"):
                made.positions("two", [0])
        (tmp_path / "rows.sqlite").unlink()


def test_a_row_that_does_not_stand_where_it_should_is_not_told_of(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(_table([0, 1, 2], np.random.default_rng(1)), path)
    with pytest.raises(sqlite3.DatabaseError, match="does not stand where it should"):
        row_files.details_at(path, {_hex(0): [1]}, (*COLUMNS, "row_id"))
    with pytest.raises(sqlite3.DatabaseError, match="beyond the end"):
        row_files.details_at(path, {_hex(0): [0, 7]}, COLUMNS)


@pytest.mark.parametrize("columns", [{"score": ["high"]}, {"file": [[1]]}, {"text": [b"\xff"]}])
def test_a_row_that_cannot_be_read_is_refused(tmp_path: Path, columns: dict[str, Any]) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"row_id": [_hex(0)], **columns}), path)
    with pytest.raises(DataError, match="cannot be read as rows"):
        row_files.details_at(path, {_hex(0): [0]}, COLUMNS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="cannot be read as rows"):
        row_files.details_at(path, {_hex(0): [0]}, COLUMNS)


def test_a_text_that_is_no_utf8_is_refused_where_it_is_decoded_as_a_number(tmp_path: Path) -> None:
    bad = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff"))
    pq.write_table(pa.table({"row_id": [_hex(0)], "file": bad}), tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="cannot be read as rows"):
        row_files.details_at(tmp_path / "rows.parquet", {_hex(0): [0]}, COLUMNS)


def test_positions_of_one_piece_are_those_of_its_steps() -> None:
    """The example at the top of the module."""
    assert list(row_order._pieces(np.array([3, 4, 9]), np.arange(3))) == [(0, b"")]
    ((first, steps),) = row_order._pieces(np.array([9, 3, 4, 3]), np.arange(4))
    assert first == 1
    assert steps
