"""Which side a row is on: by a hash of its text, so that a row keeps its side when others come or go.

    "Which vitamin …\nA. K\nB. C" (text)  →  "Which vitamin …" (question)  →  0.42 (draw)  →  train (side)

A question of multiple choice is one group whatever its options are: asked again with others, it stays on its side.
Questions that a cluster of near duplicates links are one group, too: its side is that of the first of its rows. So a
row that is added behind others moves none of them, unless it links two groups: then the later follows the earlier.

The share of a side is exact in expectation only, in each task and label alike, since a row's draw does not know them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clew.rows import normalise, question
from clew.similarity import distinct

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clew.params import Sides, Split

    Draws = NDArray[np.uint64]
    Codes = NDArray[np.int8]

Side = Literal["train", "valid", "test"]
SIDES: tuple[Side, ...] = ("train", "valid", "test")
TRAIN, VALID, TEST = range(3)
"""A side's code is its place in SIDES."""


class Drawn(NamedTuple):
    """Draws (n,), uniform in [0, 2^64): `group` by the question, `own` by the whole text, for `split.limits`."""

    group: Draws
    own: Draws


def draws(batch: pa.RecordBatch, seed: int) -> Drawn:
    """The draws of rows (columns text, options), fixed by the normalised text and the seed."""
    texts = pc.fill_null(batch["text"], "").to_pylist()
    group, own = (np.empty(len(texts), dtype=np.uint64) for _ in range(2))
    for position, (text, options) in enumerate(zip(texts, batch["options"].to_pylist(), strict=True)):
        words, asked = normalise(text), _asked(text, options)
        group[position] = _draw(words if asked is text else normalise(asked), seed)
        own[position] = _draw(f"limit {words}", seed)
    return Drawn(group, own)


def _draw(words: str, seed: int) -> int:
    digest = hashlib.blake2b(f"split\0{seed}\0{words}".encode(), digest_size=8).digest()
    return int.from_bytes(digest)


def _asked(text: str, options: Sequence[str] | None) -> str:
    """What a row asks: its text, of multiple choice without the options."""
    return (question(text, options) if options else None) or text


def linked(group: Draws, clusters: pa.Array | pa.ChunkedArray) -> Draws:
    """(n,) the draw of the first row of each one's group: all rows that questions and clusters link (null: none)."""
    from scipy.sparse import coo_array, csgraph

    codes = pc.dictionary_encode(clusters)
    codes = codes.combine_chunks() if isinstance(codes, pa.ChunkedArray) else codes
    rows = np.flatnonzero(pc.is_valid(codes))
    if not len(rows):
        return group
    cluster = codes.indices.drop_null().to_numpy()
    asked, place = np.unique(group[rows], return_inverse=True)
    n = len(asked) + len(codes.dictionary)
    links = coo_array((np.ones(len(rows), dtype=np.int8), (place, len(asked) + cluster)), shape=(n, n))
    _, labels = csgraph.connected_components(links, directed=False)
    concerned = np.flatnonzero(np.isin(group, asked))
    label = labels[np.searchsorted(asked, group[concerned])]
    _, first, which = np.unique(label, return_index=True, return_inverse=True)
    together = group.copy()
    together[concerned] = group[concerned[first[which]]]
    return together


def sides(draws: Draws, split: Split) -> Codes:
    """(n,) each row's side. Raising test_share or valid_share moves rows only out of train."""
    number = draws / 2**64
    return np.where(number < split.test_share, TEST, np.where(number >= 1 - split.valid_share, VALID, TRAIN)).astype(
        "i1"
    )


def within_limits(rows: pa.Table, sides: Codes, own: Draws, limits: Mapping[str, Sides]) -> NDArray[np.bool_]:
    """(n,) which rows (columns row_id, task, label) stay: per task and side, no more than its limit.

    Each label keeps its share of them (largest remainder), and of a label those with the lowest draw stay.
    """
    stays = np.ones(len(rows), dtype=bool)
    for task, limit in limits.items():
        of_task = np.asarray(pc.equal(rows["task"], task))
        for code, name in enumerate(SIDES):
            positions = np.flatnonzero(of_task & (sides == code))
            if len(positions) > getattr(limit, name):
                stays[positions] = False
                stays[_chosen(rows.take(pa.array(positions)), own[positions], getattr(limit, name), positions)] = True
    return stays


def _chosen(rows: pa.Table, own: Draws, limit: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    order = np.lexsort((np.asarray(pc.rank(rows["row_id"], tiebreaker="first")), own))
    labels = np.array([label or "" for label in rows["label"].to_pylist()], dtype=object)[order]
    names, sizes = np.unique(labels, return_counts=True)
    quotas = apportion(sizes, limit)
    return np.concatenate([positions[order[labels == name][:quota]] for name, quota in zip(names, quotas, strict=True)])


def apportion(sizes: NDArray[np.int64], seats: int) -> NDArray[np.int64]:
    """Seats by size (Hamilton's method of largest remainders); of equal remainders the larger size's, then the first's.

    >>> apportion(np.array([50, 30, 20]), 7).tolist()
    [4, 2, 1]
    """
    total = int(sizes.sum())
    whole = sizes * seats // total
    rest = sizes * seats % total
    order = np.lexsort((np.arange(len(sizes)), -sizes, -rest))
    whole[order[: seats - whole.sum()]] += 1
    return np.asarray(whole, dtype=np.int64)


def leaks(groups: NDArray[Any], sides: Codes) -> NDArray[Any]:
    """Groups that stand on more than one side: a check of the result, however it was made."""
    order = np.lexsort((sides, groups))
    ordered, side = groups[order], sides[order]
    return distinct(ordered[1:][(ordered[1:] == ordered[:-1]) & (side[1:] != side[:-1])])
