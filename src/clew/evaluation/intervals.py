"""Percentile bootstrap (Efron and Tibshirani, 1993, ch. 13): how far a number would move with other rows.

A metric is a function of how often each row counts: `counts` of shape (resamples, n) → values of shape
(resamples,). Counting each row once gives the reported value; counting rows as often as they were drawn with
replacement gives its distribution. All variants of a task see the same draws, so that differences are paired.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Metric = Callable[[Array], Array]
Key = TypeVar("Key", bound=Hashable)

CHUNK = 2_000_000
"""Counts in memory at a time (16 MB)."""

MIN_DEFINED = 0.9
"""Below this share of resamples that define a metric there is no interval."""


def generator(seed: int, name: str) -> np.random.Generator:
    """A stream of random numbers of its own for each name: adding a task leaves the other tasks' draws alone."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def draws(n: int, resamples: int, rng: np.random.Generator) -> Iterator[Array]:
    """Yield counts of shape (some resamples, n): n rows drawn with replacement, `resamples` times in all."""
    size = max(1, CHUNK // n)
    for start in range(0, resamples, size):
        some = min(size, resamples - start)
        drawn = rng.integers(0, n, size=(some, n)) + n * np.arange(some)[:, None]
        yield np.bincount(drawn.ravel(), minlength=some * n).reshape(some, n).astype(np.float64)


def point(metric: Metric, n: int) -> float:
    """The metric over all n rows, each counted once."""
    with np.errstate(all="ignore"):
        return float(metric(np.ones((1, n)))[0])


def bootstrap(metrics: Mapping[Key, Metric], n: int, resamples: int, rng: np.random.Generator) -> dict[Key, Array]:
    """Each metric's values over the same `resamples` draws of n rows, each of shape (resamples,)."""
    parts: dict[Key, list[Array]] = {key: [] for key in metrics}
    with np.errstate(all="ignore"):
        for counts in draws(n, resamples, rng):
            for key, metric in metrics.items():
                parts[key].append(metric(counts))
    return {key: np.concatenate(values) for key, values in parts.items()}


def entry(value: float, samples: Array, confidence: float) -> dict[str, Any]:
    """{value, low, high}, or {value, low: null, high: null, reason} where too few resamples define the metric.

    The interval is widened to its value where the bootstrap's bias would leave the value outside.
    """
    bounds = interval(samples, confidence)
    if isinstance(bounds, str):
        return {"value": value, "low": None, "high": None, "reason": bounds}
    return {"value": value, "low": min(bounds[0], value), "high": max(bounds[1], value)}


def interval(samples: Array, confidence: float) -> tuple[float, float] | str:
    """The percentile interval of the samples, or the reason why there is none.

    NaN samples (undefined) are left out; infinite ones (a ratio to zero) are not, and may be a bound.
    """
    defined = samples[~np.isnan(samples)]
    if len(defined) < MIN_DEFINED * len(samples):
        return f"no interval: only {len(defined)} of {len(samples)} resamples define it"
    tail = (1 - confidence) / 2
    low = float(np.quantile(defined, tail, method="lower"))
    high = float(np.quantile(defined, 1 - tail, method="higher"))
    if not np.isfinite([low, high]).all():
        return "no interval: it has no finite bound"
    return low, high


def difference(value: float, parent_value: float, samples: Array, parent: Array, confidence: float) -> dict[str, Any]:
    """The paired difference to the parent: {difference, low, high, p}.

    p is two-sided: twice the smaller share of resamples on either side of 0, both counted with one resample more
    (Davison and Hinkley, 1997, eq. 4.11), so that it is never 0; p < 1 - confidence where the interval excludes 0.
    """
    with np.errstate(all="ignore"):  # a resample that is infinite for both has no difference: NaN
        deltas = samples - parent
    found = entry(value - parent_value, deltas, confidence)
    defined = deltas[~np.isnan(deltas)]
    beyond = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    found["difference"] = found.pop("value")
    found["p"] = min(1.0, 2 * (beyond + 1) / (len(defined) + 1)) if found["low"] is not None else None
    return found
