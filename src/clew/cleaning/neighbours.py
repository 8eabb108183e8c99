"""Nearest neighbours among vectors, by cosine (faiss; Douze et al., The Faiss library, 2024)."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXACT = 50_000
"""Up to so many vectors all are compared with all; above, each with those of the PROBES nearest of 4 √n cells."""
PROBES = 32
BLOCK = 1 << 12


def nearest(vectors: NDArray[np.float32], k: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Cosine distances (n, k) of the k nearest other vectors, ascending, and their positions (n, k).

    vectors: (n, d) of length 1 or 0; k < n. A vector of length 0 is at distance 1 of all. The order of sums, and so
    the last digits, would follow the number of threads in one search: each block is searched by one.
    """
    import faiss
    from threadpoolctl import threadpool_limits

    def block(start: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        faiss.omp_set_num_threads(1)  # of this thread
        products, positions = index.search(vectors[start : start + BLOCK], k + 1)
        return _others(products, positions, start, k)

    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as pool:
        index = _index(vectors, seed)
        found = list(pool.map(block, range(0, len(vectors), BLOCK)))
    return np.concatenate([distances for distances, _ in found]), np.concatenate([others for _, others in found])


def _index(vectors: NDArray[np.float32], seed: int) -> Any:
    import faiss

    n, d = vectors.shape
    flat = faiss.IndexFlatIP(d)
    if n <= EXACT:
        flat.add(vectors)
        return flat
    cells = faiss.IndexIVFFlat(flat, d, 4 * math.isqrt(n), faiss.METRIC_INNER_PRODUCT)
    cells.cp.seed, cells.cp.niter = seed, 10
    cells.cp.min_points_per_centroid, cells.cp.max_points_per_centroid = 1, 40
    cells.train(vectors)
    cells.add(vectors)
    cells.nprobe = PROBES
    return cells


def _others(
    products: NDArray[np.float32], positions: NDArray[np.int64], start: int, k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Without the vector itself, or the last where among equals it is not found. Too few in the cells: distance 1."""
    own = positions == np.arange(start, start + len(positions))[:, None]
    own[~own.any(axis=1), -1] = True
    products, positions = products[~own].reshape(-1, k), positions[~own].reshape(-1, k)
    products = np.where(positions < 0, 0, products)
    return np.clip(1 - products, 0, 2), positions
