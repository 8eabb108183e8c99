"""Which of many rows to keep: rows that together are like all of them.

    similarities of 4 rows, two alike and two alike; keep 2  →  facility_location → [0, 2]

Similarities are whole numbers, so that sums are exact and ties are ties on every machine. More than PART rows are dealt
out into parts, which choose each for itself (the first round of GreeDi, Mirzasoleiman et al., 2013): memory and time
grow with the rows, not with their square.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from clew.splitting import apportion

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clew.params_select import Diversity

    Positions = NDArray[np.int64]
    Similarities = NDArray[np.int16]
    Vectors = NDArray[np.float32]

PART = 4096
"""Rows whose similarities to each other are held at a time: 32 MB."""
ONE = 1 << 10
"""A cosine of 1."""


class Chosen(NamedTuple):
    """positions: (k,), ascending."""

    positions: Positions
    like: float
    """The sum over all n rows of the cosine (at least 0) to the nearest chosen one …"""
    like_first: float
    """… and the same had the first k been chosen."""
    n: int


def diverse(vectors: Vectors, k: int, method: Diversity) -> Chosen:
    """k of n rows, of vectors (n, d) of length 1 (or 0). Rows come the best first: of equals, the first is chosen."""
    n = len(vectors)
    if not k:
        return Chosen(np.empty(0, dtype=np.int64), 0.0, 0.0, n)
    parts = [np.arange(start, n, -(-n // PART)) for start in range(-(-n // PART))]
    quotas = apportion(np.array([len(part) for part in parts]), k)
    found, like, like_first = [], 0, 0
    for part, quota in zip(parts, quotas.tolist(), strict=True):
        similar = similarities(vectors[part])
        picked = METHODS[method.method](similar, quota)
        found.append(part[picked])
        like += covered(similar, picked)
        like_first += covered(similar, np.arange(quota))
    return Chosen(np.sort(np.concatenate(found)), like / ONE, like_first / ONE, n)


def similarities(vectors: Vectors) -> Similarities:
    """(n, n) cosines of vectors (n, d) in units of 1 / ONE, one machine's like another's but for a rare last digit."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        cosines = vectors @ vectors.T
    return np.asarray(np.rint(cosines * ONE), dtype=np.int16)


def covered(similar: Similarities, chosen: Positions) -> int:
    """The sum over all rows of the similarity to the nearest of the chosen, at least 0: what facility location seeks.

    It is monotone and submodular, so that the greedy algorithm reaches 1 - 1/e of the best at least (Nemhauser, Wolsey
    and Fisher, 1978).
    """
    return int(np.maximum(similar[chosen].max(axis=0, initial=0), 0).sum(dtype=np.int64))


def facility_location(similar: Similarities, k: int) -> Positions:
    """k rows, greedily: each time the one that raises `covered` most, the first of several.

    Lazily (Minoux, 1978): a row's gain only falls, so that one that stays on top when it is counted anew is the best.
    """
    similar = np.maximum(similar, 0)
    nearest = np.zeros(len(similar), dtype=np.int16)
    reached = 0
    waiting = [(-int(gain), row) for row, gain in enumerate(similar.sum(axis=1, dtype=np.int64))]
    heapq.heapify(waiting)
    chosen: list[int] = []
    while len(chosen) < k:
        _, row = heapq.heappop(waiting)
        gain = int(np.maximum(similar[row], nearest).sum(dtype=np.int64)) - reached
        if waiting and (-gain, row) > waiting[0]:
            heapq.heappush(waiting, (-gain, row))
            continue
        np.maximum(nearest, similar[row], out=nearest)
        reached += gain
        chosen.append(row)
    return np.array(chosen, dtype=np.int64)


def farthest_point(similar: Similarities, k: int) -> Positions:
    """k rows: the first, then each time the one least like its nearest chosen one, the first of several.

    The greatest distance to a chosen row is at most twice the least possible (Gonzalez, 1985).
    """
    nearest = np.full(len(similar), -ONE - 1, dtype=np.int16)
    chosen = np.zeros(k, dtype=np.int64)
    for place in range(k):
        row = int(nearest.argmin())
        np.maximum(nearest, similar[row], out=nearest)
        nearest[row] = ONE + 1
        chosen[place] = row
    return chosen


METHODS: dict[str, Callable[[Similarities, int], Positions]] = {
    "facility_location": facility_location,
    "farthest_point": farthest_point,
}
