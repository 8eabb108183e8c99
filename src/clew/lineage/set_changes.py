"""Two files of rows: which came, which went, which are labelled, written or weighted otherwise.

train.parquet of main, of lora  →  SetChange("data/train.parquet", 1028, 976, removed=Rows(52, …), …)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from clew.lineage import arrow, row_tables
from clew.lineage.data_changes import Count, Pairs, Row, Rows, SetChange
from clew.lineage.row_tables import Mask, Match, Positions

COLUMNS = ("row_id", "source", "origin", "task", "label", "weight", "parent_ids")
PLACE = ("source", "file", "record", "task", "is_child")
TEXT = ("source", "task", "is_child", "words")
SHORT = 160
"""Characters of a text that is shown."""


def compare(path: str, files: tuple[Path, Path], sample: int) -> SetChange:
    """How the second file differs from the first, with at most `sample` examples of each kind; raises DataError."""
    was, now = (_Side(file) for file in files)
    same = row_tables.match(was.table, now.table, ["row_id"])
    moved = _moved(was, now, same)
    labels = _differ(was, now, "label", moved.left, moved.right)
    weights = _differ(was, now, "weight", same.left, same.right)
    return SetChange(
        path=path,
        before=was.table.num_rows,
        after=now.table.num_rows,
        added=now.rows(moved.right_alone, sample),
        removed=was.rows(moved.left_alone, sample),
        relabelled=_pairs(was, now, moved.left[labels], moved.right[labels], sample),
        edited=_pairs(was, now, moved.left[~labels], moved.right[~labels], sample),
        reweighted=_pairs(was, now, same.left[weights], same.right[weights], sample),
    )


def _moved(was: _Side, now: _Side, same: Match) -> Match:
    """Of the rows whose ids differ those that are the same text (first at the same place), or the same label there.

    A line that was put into a source moves all that follow: their places alone say nothing.
    """
    left, right = same.left_alone, same.right_alone
    found: list[tuple[Positions, Positions]] = []
    if len(left) and len(right):
        was.read_words(left)
        now.read_words(right)
    for columns in ((*PLACE, "words"), TEXT, (*PLACE, "label")):
        (mine, at_left), (theirs, at_right) = was.some(left, columns), now.some(right, columns)
        pairs = row_tables.match(mine, theirs, columns)
        found.append((at_left[pairs.left], at_right[pairs.right]))
        left, right = np.setdiff1d(left, found[-1][0]), np.setdiff1d(right, found[-1][1])
    lefts, rights = ([one[side] for one in found] for side in (0, 1))
    return Match(np.concatenate(lefts), np.concatenate(rights), left, right)


class _Side:
    """One file's columns but for the texts, which are read for examples only."""

    def __init__(self, path: Path) -> None:
        import pyarrow.compute as pc

        self.path = path
        self.words: dict[int, int] = {}
        self.table: pa.Table = row_tables.read(path, COLUMNS)
        parents = self.table["parent_ids"]
        children = (
            pc.greater(pc.list_value_length(parents), arrow.whole(0)) if pa.types.is_list(parents.type) else parents
        )
        self.table = self.table.drop(["parent_ids"]).append_column("is_child", children)

    def read_words(self, positions: Positions) -> None:
        self.words = dict(zip(positions.tolist(), row_tables.words(self.path, positions).tolist(), strict=True))

    def some(self, positions: Positions, columns: Sequence[str]) -> tuple[pa.Table, Positions]:
        """These columns of those of some rows that have a place, or text, where it is asked for; their positions.

        `words` are the texts as duplicates are judged, each as a number.
        """
        if "record" in columns:
            positions = row_tables.placed(self.table, positions)
        if "words" not in columns:
            return arrow.taken(self.table, positions).select(list(columns)), positions
        words = np.fromiter((self.words.get(position, 0) for position in positions.tolist()), dtype=np.int64)
        positions, words = positions[words != 0], words[words != 0]
        table = arrow.taken(self.table, positions).append_column("words", arrow.wholes(words))
        return table.select(list(columns)), positions

    def rows(self, positions: Positions, sample: int) -> Rows:
        return Rows(len(positions), self.counts(positions), self.examples(row_tables.spread(positions, sample)))

    def counts(self, positions: Positions) -> tuple[Count, ...]:
        found = row_tables.counts(self.table, positions, ["source", "task"])
        return tuple(Count(source, task, n) for source, task, n in found)

    def examples(self, positions: Positions) -> tuple[Row, ...]:
        if not len(positions):
            return ()
        texts = row_tables.texts(self.path, positions)
        return tuple(
            _row(row, text) for row, text in zip(arrow.taken(self.table, positions).to_pylist(), texts, strict=True)
        )


def _row(row: dict[str, Any], text: str) -> Row:
    return Row(
        row["row_id"],
        row["source"],
        row["file"],
        row["record"],
        row["task"],
        shortened(text),
        row["label"],
        row["weight"],
    )


def shortened(text: str, limit: int = SHORT) -> str:
    """A text as one line of at most `limit` characters.

    >>> shortened("one\\n two three", 9)
    'one two …'
    """
    line = " ".join(text[: 8 * limit].split())
    return line if len(line) <= limit else f"{line[: limit - 2].rstrip()} …"


def _differ(was: _Side, now: _Side, column: str, left: Positions, right: Positions) -> Mask:
    before, after = arrow.taken(was.table[column], left), arrow.taken(now.table[column], right)
    return row_tables.differ(before, after)


def _pairs(was: _Side, now: _Side, left: Positions, right: Positions, sample: int) -> Pairs:
    chosen = row_tables.spread(np.arange(len(left), dtype=np.int64), sample)
    examples = zip(was.examples(left[chosen]), now.examples(right[chosen]), strict=True)
    return Pairs(len(left), now.counts(right), tuple(examples))
