"""Which side a row is on: by a hash of its text, so that a row keeps its side when others come or go.

    "Which vitamin …\nA. K\nB. C" (text)  →  "Which vitamin …" (question)  →  0.42 (draw)  →  train (side)

A question of multiple choice is one group whatever its options are: asked again with others, it stays on its side.
Questions that a cluster of near duplicates links are one group, too: its side is that of the first of its rows. So a
row that is added behind others moves none of them, unless it links two groups: then the later follows the earlier.

The share of a side is exact in expectation only, in each task and label alike, since a row's draw does not know them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clew.rows import normalise, options
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
    """The draws of rows (columns text, choices, messages), fixed by the normalised text and the seed."""
    texts = pc.fill_null(batch["text"], "").to_pylist()
    asked = dict(_questions(batch, texts))
    group, own = (np.empty(len(texts), dtype=np.uint64) for _ in range(2))
    for position, text in enumerate(texts):
        words = normalise(text)
        group[position] = _draw(normalise(asked[position]) if position in asked else words, seed)
        own[position] = _draw(f"limit {words}", seed)
    return Drawn(group, own)


def _draw(words: str, seed: int) -> int:
    digest = hashlib.blake2b(f"split\0{seed}\0{words}".encode(), digest_size=8).digest()
    return int.from_bytes(digest)


def _questions(batch: pa.RecordBatch, texts: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Position and question of the rows whose text is a question with its options."""
    choices = batch["choices"].to_pylist()
    some = [i for i, letters in enumerate(choices) if letters and len(texts[i].splitlines()) > len(letters)]
    lengths = pc.list_value_length(batch["messages"]).to_numpy(zero_copy_only=False)
    last = pa.array((np.cumsum(lengths) - 1)[some])
    prompts = pc.list_flatten(batch["messages"]).field("content").take(last).to_pylist()
    for position, prompt in zip(some, prompts, strict=True):
        found = question(texts[position], choices[position], prompt)
        if found is not None:
            yield position, found


def question(text: str, letters: Sequence[str], prompt: str) -> str | None:
    """The text without the lines at its end that hold the row's options; None where it does not end with them.

    Those are the lines that the prompt shows after the letters.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) <= len(letters):
        return None
    shown = [option for option in options(prompt, letters) if option]
    if all(any(line.endswith(option) for option in shown) for line in lines[-len(letters) :]):
        return "\n".join(lines[: -len(letters)])
    return None


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
