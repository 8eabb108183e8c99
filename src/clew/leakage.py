"""What train shares with the other sides: texts that are nearly the same, and n-grams of words.

    train "… and my head hurts so much that I cannot sleep", test "… my head hurts so much that I can not sleep"
    →  near (1, 0, 0.86): row 1 of the test side is like row 0 of train;  overlap [0.74] of the test row's n-grams

A model that has learnt a test text knows it; what is measured on it says nothing. n-grams are 13 words long in Brown
et al. (2020, GPT-3, appendix C); PaLM (Chowdhery et al., 2022, section 8) counts a text as contaminated where at least
70 % of its 8-grams stand in train.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from clew import similarity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clew.params import Contamination, Leakage

    Mask = NDArray[np.bool_]
    Positions = NDArray[np.int64]
    Numbers = NDArray[np.float64]


class Near(NamedTuple):
    """Pairs of a row that is held back from train and a row of train, with their Jaccard similarity."""

    held: Positions
    train: Positions
    jaccard: Numbers


def near(texts: pa.ChunkedArray, train: Mask, held: Mask, rule: Leakage, seed: int) -> Near:
    """Pairs of a text of `held` (n,) and one of `train` (n,) that are at least as similar as `rule.near`."""
    order = np.concatenate([np.flatnonzero(held), np.flatnonzero(train)])
    is_train = np.arange(len(order)) >= held.sum()
    some = similarity.in_memory(texts.take(pa.array(order)))
    pairs = similarity.near_pairs(some, rule.near, rule.shingle, rule.permutations, seed, apart=is_train)
    found = pairs.jaccard >= rule.near
    return Near(order[pairs.left[found]], order[pairs.right[found]], pairs.jaccard[found])


def overlap(texts: pa.ChunkedArray, train: Mask, held: Mask, ngram: int) -> Numbers:
    """Of each text of `held`, the share of its n-grams that stand in train (0 where it has no word).

    A text of fewer words than that is one n-gram as a whole.
    """
    known = similarity.all_shingles(_some(texts, held), ngram)
    names, place = np.unique(known.hashes, return_inverse=True)
    met = np.zeros(len(names), dtype=bool)
    for part in similarity.shingles(_some(texts, train), ngram):
        met[_places(similarity.distinct(part.hashes), names)] = True
    counts = np.diff(known.offsets)
    sums = np.concatenate([[0], np.cumsum(met[place])])
    shares = (sums[known.offsets[1:]] - sums[known.offsets[:-1]]) / np.maximum(counts, 1)
    return np.asarray(shares, dtype=np.float64)


def sharing(texts: pa.ChunkedArray, train: Mask, held: Mask, ngram: int) -> Numbers:
    """Of each text of `train`, the share of its n-grams that stand in one of `held`."""
    names = similarity.distinct(similarity.all_shingles(_some(texts, held), ngram).hashes)
    shares = []
    for part in similarity.shingles(_some(texts, train), ngram):
        there = np.concatenate([[0], np.cumsum(np.isin(part.hashes, names))])
        shares.append((there[part.offsets[1:]] - there[part.offsets[:-1]]) / np.maximum(np.diff(part.offsets), 1))
    return np.concatenate([np.empty(0), *shares])


def contaminated(texts: pa.ChunkedArray, train: Mask, held: Mask, rule: Contamination) -> tuple[Positions, Numbers]:
    """Positions of the texts of `held` of whose n-grams at least `rule.overlap` stand in train, and these shares."""
    shares = overlap(texts, train, held, rule.ngram)
    found = shares >= rule.overlap
    return np.flatnonzero(held)[found], shares[found]


def _some(texts: pa.ChunkedArray, which: Mask) -> similarity.Texts:
    return similarity.in_memory(texts.filter(pa.array(which)))


def _places(values: NDArray[np.uint64], names: NDArray[np.uint64]) -> Positions:
    """Where in `names` (ascending, distinct) those of `values` stand that are there."""
    places = np.searchsorted(names, values)
    inside = places < len(names)
    places = places[inside]
    return np.asarray(places[names[places] == values[inside]], dtype=np.int64)
