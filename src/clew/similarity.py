"""Texts that are nearly the same: pairs by the Jaccard similarity of their shingles (Broder, 1997).

    "I can not sleep", "i can't not sleep" → shingles of 2 words {i can, can not, not sleep}, {i can, …} → (0, 1, 0.4)

Pairs are found by MinHash signatures (rensa) in bands (Leskovec, Rajaraman and Ullman, Mining of Massive Datasets,
chapter 3) and each is measured on the shingles themselves: every pair that is told is one, and a few are not found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clew.ledger import rounded
from clew.rows import UNSPACED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]
    Positions = NDArray[np.int64]

CHUNK = 1 << 14
"""Texts in memory that are cut into words at a time."""
BITS = np.uint64(48)
"""Of a shingle's hash; the other 16 number the texts or pairs of a chunk, so that one sort does them all."""
MASK = np.uint64((1 << 48) - 1)
ELEMENTS = 1 << 22
"""Hashes that are compared at a time …"""
HELD = 1 << 24
"""… and that are in memory: for each so many, all texts are read once more."""
MISSED = 0.01
"""The share of pairs just at the threshold that may be missed, at most."""
SMALL, LEADERS, ACROSS = 16, 8, 1 << 21
"""In a bucket of up to SMALL texts all pairs are measured; in a larger one each text with the first LEADERS of the
bucket and with the one before it: a million texts from one template take time, not the square of it. Where pairs of two
sides are wanted, up to ACROSS pairs a band are measured, all of the smallest buckets; in the others each text with the
first LEADERS of the other side."""

_BETWEEN = r"[\p{P}\p{C}]+"


class Texts(NamedTuple):
    """Texts that need not be in memory: how many, and what reads them from the start, array by array."""

    number: int
    read: Callable[[], Iterator[pa.Array]]


def in_memory(texts: pa.Array | pa.ChunkedArray) -> Texts:
    """Texts that are."""
    parts = texts if isinstance(texts, pa.ChunkedArray) else pa.chunked_array([texts])
    starts = range(0, len(texts), CHUNK)
    return Texts(len(texts), lambda: (parts.slice(start, CHUNK).combine_chunks() for start in starts))


class Shingles(NamedTuple):
    """The shingles of texts: those of text i are hashes[offsets[i]:offsets[i + 1]], ascending, each once."""

    hashes: Hashes
    offsets: Positions


class Pairs(NamedTuple):
    """Pairs of texts by position, left < right, in their order, with their Jaccard similarity."""

    left: Positions
    right: Positions
    jaccard: NDArray[np.float64]


def near_pairs(
    texts: Texts,
    threshold: float,
    shingle: int,
    permutations: int,
    seed: int,
    *,
    within: NDArray[Any] | None = None,
    apart: NDArray[np.bool_] | None = None,
) -> Pairs:
    """Pairs that may be near duplicates, measured: nearly all at or above `threshold`, and some below it.

    within (n,): only pairs of one value. apart (n,): only pairs of two values. A text of fewer than `shingle` words is
    one shingle; a text without a word is in no pair.
    """
    bands, sizes = _band_keys(texts, threshold, shingle, permutations, seed, within)
    n, seen = texts.number, np.empty(0, dtype=np.int64)
    for band in bands:
        left, right = _within_buckets(band, apart)
        seen = distinct(np.concatenate([seen, left * n + right]))
    left, right = np.divmod(seen, max(n, 1))
    return Pairs(left, right, _jaccard(texts, sizes, left, right, shingle))


def clusters(n: int, pairs: Pairs, threshold: float) -> Positions:
    """(n,) the position of the first text of each one's cluster, or its own: texts linked by pairs ≥ `threshold`."""
    from scipy.sparse import coo_array, csgraph

    near = pairs.jaccard >= threshold
    links = coo_array((np.ones(near.sum(), dtype=np.int8), (pairs.left[near], pairs.right[near])), shape=(n, n))
    _, labels = csgraph.connected_components(links, directed=False)
    _, firsts = np.unique(labels, return_index=True)
    return np.asarray(firsts[labels], dtype=np.int64)


def lasting(n: int, pairs: Pairs) -> NDArray[np.float64]:
    """(n,) the highest threshold at which each text is in a cluster and not its first; 0 where there is none.

    It is the similarity of the pair that joins the text's cluster to one with an earlier first (single linkage): the
    best chain to an earlier text is as strong as its weakest link.
    """
    from scipy.sparse import coo_array, csgraph

    links = coo_array((2 - pairs.jaccard, (pairs.left, pairs.right)), shape=(n, n))
    tree = csgraph.minimum_spanning_tree(links.tocsr()).tocoo()
    order = np.argsort(tree.data, kind="stable")
    scores = np.zeros(n)
    first = list(range(n))

    def find(text: int) -> int:
        while first[text] != text:
            first[text] = text = first[first[text]]
        return text

    for one, other, distance in zip(*(a[order].tolist() for a in (tree.row, tree.col, tree.data)), strict=True):
        early, late = sorted((find(one), find(other)))
        first[late] = early
        scores[late] = 2 - distance
    return scores


def shingles(texts: Texts, size: int) -> Iterator[Shingles]:
    """The shingles of `size` words of each text, array by array; of a shorter text, all its words as one."""
    for array in texts.read():
        yield _shingles(array, size)


def all_shingles(texts: Texts, size: int) -> Shingles:
    """The same of all texts at once: 8 bytes a shingle."""
    parts = list(shingles(texts, size))
    hashes = np.concatenate([np.empty(0, dtype=np.uint64), *(part.hashes for part in parts)])
    counts = np.concatenate([np.empty(0, dtype=np.int64), *(np.diff(part.offsets) for part in parts)])
    return Shingles(hashes, np.concatenate([[0], np.cumsum(counts)]))


def _shingles(texts: pa.Array, size: int) -> Shingles:
    hashed, counts = _hashed_words(texts)
    number = np.where(counts > 0, np.maximum(counts - size + 1, 1), 0)
    text = np.repeat(np.arange(len(counts)), number)
    ends = np.cumsum(counts)
    starts = _ranges(ends - counts, number)
    mixed = np.ones(len(starts), dtype=np.uint64)
    for word in range(size):
        there = starts + word < ends[text]
        following = mixed * np.uint64(0x9E3779B97F4A7C15) + hashed[np.minimum(starts + word, len(hashed) - 1)]
        mixed = np.where(there, following, mixed)
    keys = distinct(text.astype(np.uint64) << BITS | _scrambled(mixed) >> (np.uint64(64) - BITS))
    of_text = np.bincount((keys >> BITS).astype(np.int64), minlength=len(counts))
    return Shingles(keys & MASK, np.concatenate([[0], np.cumsum(of_text)]))


def distinct(values: NDArray[Any]) -> NDArray[Any]:
    """The values, ascending, each once: np.unique, whose hash table is slow for many values, by a sort."""
    ordered = np.sort(values)
    first = np.ones(len(ordered), dtype=bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]


def _hashed_words(texts: pa.Array) -> tuple[Hashes, Positions]:
    """A hash of each word of all texts, one after the other, and the number of words of each text.

    Case, punctuation and white space do not count, and characters that look the same are (NFKC).
    """
    text = pc.utf8_lower(pc.utf8_normalize(pc.fill_null(texts.cast(pa.large_string()), ""), form="NFKC"))
    text = pc.replace_substring_regex(text, _BETWEEN, " ")
    text = pc.utf8_trim_whitespace(pc.replace_substring_regex(text, f"([{UNSPACED}])", r" \1 "))
    lists = pc.utf8_split_whitespace(text)
    counts = np.where(pc.equal(text, ""), 0, pc.list_value_length(lists)).astype(np.int64)
    words = pc.list_flatten(lists)
    coded = words.filter(pc.not_equal(words, "")).dictionary_encode()
    digests = b"".join(hashlib.blake2b(word.encode(), digest_size=8).digest() for word in coded.dictionary.to_pylist())
    return np.frombuffer(digests, dtype="<u8")[coded.indices.to_numpy()], counts


def _scrambled(values: Hashes) -> Hashes:
    """Each bit of the result follows all bits of the value (the finaliser of SplitMix64, Steele et al., 2014)."""
    values = (values ^ values >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ values >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return values ^ values >> np.uint64(31)


def _ranges(starts: Positions, lengths: Positions) -> Positions:
    """starts[0], starts[0] + 1, … (lengths[0] of them), starts[1], …"""
    before = np.cumsum(lengths) - lengths
    return np.asarray(np.arange(lengths.sum()) + np.repeat(starts - before, lengths), dtype=np.int64)


def rows_per_band(threshold: float, permutations: int) -> int:
    """The most rows of a band with which at most MISSED of the pairs just at the threshold share no band.

    >>> rows_per_band(0.8, 128)
    6
    """
    fitting = [r for r in range(1, permutations + 1) if (1 - threshold**r) ** (permutations // r) <= MISSED]
    return max(fitting, default=1)


def _band_keys(
    texts: Texts,
    threshold: float,
    shingle: int,
    permutations: int,
    seed: int,
    within: NDArray[Any] | None,
) -> tuple[list[Hashes], Positions]:
    """Of each band (n,) a key that texts share whose signatures are the same there; (n,) how many shingles each has.

    Texts without words share none.
    """
    from rensa import RMinHash

    size = rows_per_band(threshold, permutations)
    found = np.empty((permutations // size, texts.number), dtype=np.uint64)
    sizes = np.empty(texts.number, dtype=np.int64)
    start = 0
    for hashes, offsets in shingles(texts, shingle):
        stop = start + len(offsets) - 1
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets.astype(np.uint64), permutations, seed)
        signatures = np.array(matrix.to_rows(), dtype=np.uint32)
        salt = np.zeros(stop - start) if within is None else within[start:stop]
        sizes[start:stop] = np.diff(offsets)
        empty = sizes[start:stop] == 0
        for band in range(len(found)):
            mixed = salt.astype(np.uint64)
            for column in signatures.T[band * size : (band + 1) * size]:
                mixed = _scrambled(mixed + column)
            mixed[empty] = np.arange(start, stop)[empty]
            found[band, start:stop] = mixed
        start = stop
    return list(found), sizes


def _within_buckets(keys: Hashes, apart: NDArray[np.bool_] | None) -> tuple[Positions, Positions]:
    """Pairs (left < right) of positions with the same key, of two sides if `apart` says which (n,) is on which.

    All of a small bucket; of a large one a fixed number a text (see ACROSS).
    """
    order = np.argsort(keys, kind="stable")
    same = np.concatenate([[False], keys[order][1:] == keys[order][:-1]])
    starts = np.flatnonzero(~same)
    sizes = np.diff(np.append(starts, len(keys)))
    size = np.repeat(sizes, sizes)
    if apart is None:
        place = np.arange(len(keys)) - np.repeat(starts, sizes)
        pairs = []
        for back in range(1, SMALL):
            here = np.flatnonzero((place >= back) & ((size <= SMALL) | (back == 1)))
            pairs.append((order[here - back], order[here]))
        pairs += _with_leaders(order[size > SMALL], sizes[sizes > SMALL], None)
    else:
        there = np.add.reduceat(apart[order], starts) if len(keys) else starts
        products = there * (sizes - there)
        smallest = np.argsort(products, kind="stable")
        whole = np.empty(len(sizes), dtype=bool)
        whole[smallest] = np.cumsum(products[smallest]) <= ACROSS
        inside = np.repeat(whole, sizes)
        pairs = [_across(order[inside], sizes[whole], apart[order[inside]])]
        pairs += _with_leaders(order[~inside], sizes[~whole], apart[order[~inside]])
    left, right = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return np.minimum(left, right), np.maximum(left, right)


def _across(texts: Positions, sizes: Positions, apart: NDArray[np.bool_]) -> tuple[Positions, Positions]:
    """All pairs of two sides, bucket by bucket: these stand one after the other in `texts`, `sizes` long."""
    bucket = np.repeat(np.arange(len(sizes)), sizes)
    one, other = np.flatnonzero(~apart), np.flatnonzero(apart)
    counts = np.bincount(bucket[other], minlength=len(sizes))
    starts, number = np.cumsum(counts) - counts, counts[bucket[one]]
    return texts[np.repeat(one, number)], texts[other[_ranges(starts[bucket[one]], number)]]


def _with_leaders(
    texts: Positions, sizes: Positions, apart: NDArray[np.bool_] | None
) -> Iterator[tuple[Positions, Positions]]:
    """Pairs of a leader of a bucket and another of its texts: each text with the first LEADERS, of the other side where
    there are two. The buckets stand one after the other in `texts`, `sizes` long.
    """
    bucket = np.repeat(np.arange(len(sizes)), sizes)
    starts = np.cumsum(sizes) - sizes
    for side in [None] if apart is None else [False, True]:
        eligible = np.ones(len(texts), dtype=bool) if apart is None else apart == side
        before = np.cumsum(eligible) - eligible
        rank = before - before[starts][bucket]
        for leader in range(LEADERS):
            at = np.full(len(sizes), len(texts))
            found = np.flatnonzero(eligible & (rank == leader))
            at[bucket[found]] = found
            here = np.flatnonzero(
                np.arange(len(texts)) > at[bucket] if apart is None else ~eligible & (at < len(texts))[bucket]
            )
            yield texts[at[bucket[here]]], texts[here]


def _jaccard(texts: Texts, sizes: Positions, left: Positions, right: Positions, size: int) -> NDArray[np.float64]:
    """|A ∩ B| / |A ∪ B| of the shingles of each pair. sizes (n,): how many each text has."""
    together = sizes[left] + sizes[right]
    common = np.empty(len(left), dtype=np.int64)
    for part in _parts(together, HELD, len(left)):
        common[part] = _common(texts, left[part], right[part], size)
    return rounded(common / np.maximum(together - common, 1))


def _common(texts: Texts, left: Positions, right: Positions, size: int) -> Positions:
    """|A ∩ B| of pairs whose texts' shingles are in memory at once."""
    involved, index = np.unique(np.concatenate([left, right]), return_inverse=True)
    hashes, offsets = all_shingles(Texts(len(involved), lambda: _taken(texts, involved)), size)
    starts, counts = offsets[:-1], np.diff(offsets)
    one, other = index[: len(left)], index[len(left) :]
    common = np.empty(len(left), dtype=np.int64)
    for part in _parts(counts[one] + counts[other], ELEMENTS, 1 << 16):
        here = np.stack([one[part], other[part]], axis=1).ravel()
        pair = np.repeat(np.arange(len(here)) // 2, counts[here]).astype(np.uint64)
        keys = np.sort(pair << BITS | hashes[_ranges(starts[here], counts[here])])
        twice = keys[1:][keys[1:] == keys[:-1]] >> BITS
        common[part] = np.bincount(twice.astype(np.int64), minlength=len(here) // 2)
    return common


def _taken(texts: Texts, positions: Positions) -> Iterator[pa.Array]:
    """Some of the texts (ascending)."""
    start = 0
    for array in texts.read():
        first, stop = np.searchsorted(positions, [start, start + len(array)])
        yield array.take(pa.array(positions[first:stop] - start))
        start += len(array)


def _parts(sizes: Positions, most: int, items: int) -> Iterator[slice]:
    """Slices of at most so many items whose sizes sum to `most` at most, unless one alone is more."""
    sums = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        before = sums[start] - sizes[start]
        stop = int(np.searchsorted(sums, before + most, side="right"))
        stop = min(max(stop, start + 1), start + items)
        yield slice(start, stop)
        start = stop
