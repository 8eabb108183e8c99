"""Row sets: the same as Python's sets, whatever the ids, the order they come in, and what happens to the file."""

from __future__ import annotations

import multiprocessing
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clew.lineage import rowsets
from clew.lineage.row_origins import Origin, Origins
from clew.lineage.rowsets import IN, Group


def _id(number: int) -> bytes:
    """Ids of few buckets, many of which share their first 8 bytes or more."""
    return bytes([number % 3, 0, 0, 0, 0, 0, 0, number % 5]) + number.to_bytes(24)


def _add(sets: rowsets.RowSets, md5: str, numbers: list[int], **groups: list[int]) -> None:
    """A file of these rows; groups: rule → positions dropped by it."""
    made = [Group("dropped", rule, np.array(positions, dtype=np.int64)) for rule, positions in groups.items()]
    every = [Group(IN, None, np.arange(len(numbers)))]
    sets.add(md5, b"".join(map(_id, numbers)), made or every)


files = st.lists(st.lists(st.integers(0, 400), max_size=60), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables=files, asked=st.lists(st.integers(0, 420), min_size=1, max_size=20))
def test_membership_is_that_of_python_sets(tmp_path: Path, tables: list[list[int]], asked: list[int]) -> None:
    place = tmp_path / "rows.sqlite"
    place.unlink(missing_ok=True)
    for number, table in enumerate(tables):  # opened anew: nothing is remembered but in the file
        with rowsets.opened(place) as sets:
            _add(sets, f"file{number}", table)
    with rowsets.opened(place) as sets:
        ordinals = {number: sets.ordinal(_id(number).hex()) for number in asked}
        known = [number for number in asked if ordinals[number] is not None]
        assert set(known) == set(asked) & {number for table in tables for number in table}
        held = sets.holding([ordinals[number] or 0 for number in known])
        for number, found in zip(known, held, strict=True):
            assert found == {f"file{k}": [(IN, None)] for k, table in enumerate(tables) if number in table}
        for number in known:
            assert _id(number).hex() in sets.beginning(_id(number).hex()[:8])
            assert sets.beginning(_id(number).hex()) == [_id(number).hex()]


def test_sets_that_are_much_alike_take_little_room_and_stay_exact(tmp_path: Path) -> None:
    """132,000 rows, three pieces a set; each file lacks other rows, and one has few of them."""
    draw = np.random.default_rng(1)
    ids = draw.bytes(32 * 132_000)
    kept = [np.sort(draw.permutation(132_000)[:size]) for size in (75_000, 90_000)]
    for number in range(20):
        keep = np.ones(132_000, dtype=bool)
        keep[number * 7 : number * 7 + 50] = False
        kept.append(np.intersect1d(kept[0], np.flatnonzero(keep)))
    kept += [kept[0][:1200], kept[0][kept[0] < 2 << 16]]  # few, and none of the last piece
    with rowsets.opened(tmp_path / "rows.sqlite") as sets:
        sets.add("all", ids, [Group(IN, None, np.arange(132_000))])
        for number, positions in enumerate(kept):
            sets.add(f"file{number}", ids, [Group("kept", None, positions)])
        for position in (0, 6, 7, 60, 131_999, *kept[0][:40].tolist(), *kept[0][-40:].tolist()):
            ordinal = sets.ordinal(ids[32 * position :][:32].hex())
            assert ordinal is not None
            found = sets.holding([ordinal])[0].keys() - {"all"}
            assert found == {f"file{number}" for number, some in enumerate(kept) if position in set(some.tolist())}
        sizes = dict(
            sets.database.execute(
                "SELECT md5, sum(length(bits)) FROM sets LEFT JOIN pieces ON (place & 4294967295) = number GROUP BY md5"
            )
        )
    assert sizes["file0"] > 15_000
    assert all((sizes[f"file{number}"] or 0) < 1_000 for number in range(2, 22))


def test_decisions_origins_and_children_are_kept(tmp_path: Path) -> None:
    with rowsets.opened(tmp_path / "rows.sqlite") as sets:
        ids = b"".join(map(_id, (1, 2, 1, 3)))
        where = Origins([("web", "a.csv"), ("web", "b.csv")], np.array([0, 1, 1, 0]), np.array([5, 6, 7, 8]))
        groups = [Group("kept", None, np.array([0, 1])), Group("dropped", "duplicate", np.array([2]))]
        sets.add("one", ids, groups, [(3, [_id(1).hex()])], lambda: where)
        first, second = (sets.ordinal(_id(number).hex()) or 0 for number in (1, 2))
        assert sets.holding([first, second]) == [
            {"one": [("kept", None), ("dropped", "duplicate")]},
            {"one": [("kept", None)]},
        ]
        assert sets.origin(first) == Origin("web", "a.csv", 5)
        assert sets.origin(second) == Origin("web", "b.csv", 6)
        assert sets.children(first) == [_id(3).hex()]
        assert sets.children(second) == []


def test_a_file_is_added_once(tmp_path: Path) -> None:
    with rowsets.opened(tmp_path / "rows.sqlite") as sets:
        _add(sets, "one", [1, 2], length=[0])
        _add(sets, "one", [3], length=[0])
        assert sets.unknown(["two", "one", "two"]) == ["two"]
        assert sets.ordinal(_id(3).hex()) is None


def test_an_addition_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with rowsets.opened(tmp_path / "rows.sqlite") as sets:
        with pytest.raises(IndexError):
            sets.add("one", _id(1), [Group(IN, None, np.array([9]))])
        assert sets.unknown(["one"]) == ["one"]
        assert sets.ordinal(_id(1).hex()) is None
        _add(sets, "two", [2, 1])
        ordinals = [sets.ordinal(_id(number).hex()) for number in (1, 2)]
        assert sorted(ordinals) == [0, 1]
        assert sets.holding([0, 1]) == [{"two": [(IN, None)]}] * 2


def test_two_that_stand_side_by_side_do_not_spell_a_third(tmp_path: Path) -> None:
    one, other = b"\0\0" + b"a" * 14 + b"\0\0" + b"b" * 14, b"\0\0" + b"c" * 30
    with rowsets.opened(tmp_path / "rows.sqlite") as sets:
        sets.add("one", one + other, [])
        assert sets.ordinal((one[16:] + other[:16]).hex()) is None
        assert sets.ordinal(other.hex()) == 1


def test_what_another_has_added_meanwhile_is_seen(tmp_path: Path) -> None:
    place = tmp_path / "rows.sqlite"
    with rowsets.opened(place) as mine, rowsets.opened(place) as theirs:
        _add(mine, "one", [1])
        _add(theirs, "two", [2])
        _add(mine, "three", [3, 2])
        ordinals = [mine.ordinal(_id(number).hex()) for number in (1, 2, 3)]
        assert ordinals == [0, 1, 2]
        assert mine.holding([1]) == [{"two": [(IN, None)], "three": [(IN, None)]}]


def _add_many(place: Path, worker: int) -> None:
    for number in range(8):
        with rowsets.opened(place) as sets:
            _add(sets, f"file{worker}-{number}", list(range(number, number + 40)))
            _add(sets, f"shared{number}", list(range(number * 10, number * 10 + 20)))


def test_processes_add_at_once(tmp_path: Path) -> None:
    place = tmp_path / "rows.sqlite"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_add_many, args=(place, worker)) for worker in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    with rowsets.opened(place) as sets:
        ordinals = [sets.ordinal(_id(number).hex()) for number in range(90)]
        assert sorted(ordinals) == list(range(90))
        held = sets.holding([ordinals[20] or 0])[0].keys()
        expected = {f"file{worker}-{number}" for worker in range(3) for number in range(8)}
        assert held == expected | {"shared1", "shared2"}


def test_a_file_of_another_version_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "rows.sqlite"
    with rowsets.opened(place) as sets:
        _add(sets, "one", [1])
        sets.database.execute("UPDATE pieces SET bits = x'00'")
        with pytest.raises(sqlite3.DatabaseError):
            sets.holding([0])
        sets.database.execute("PRAGMA user_version = 99")
    with pytest.raises(sqlite3.DatabaseError, match="another version"), rowsets.opened(place):
        pass
    place.write_bytes(b"no database" * 1000)
    with pytest.raises(sqlite3.DatabaseError), rowsets.opened(place):
        pass
