"""Nearly the same text again in one task: by the Jaccard similarity of its shingles, found with MinHash (rensa)."""

from __future__ import annotations

from string import ascii_uppercase
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clew import similarity
from clew.cleaning.finding import Context, Finding, Findings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clew.params_clean import NearDuplicatesRule


def find(rows: pa.Table, rule: NearDuplicatesRule, context: Context) -> Findings:
    """All rows of a cluster but its first; `cluster` is the first's row_id for all of them, whatever the action.

    A row's score is the highest threshold at which it would still be found (similarity.lasting): the Jaccard similarity
    to the nearest earlier row, unless a chain of rows links it better to one. NaN where a text has no words.
    """
    texts = rows["text"]
    tasks = rows["task"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    pairs = similarity.near_pairs(texts, rule.threshold, rule.shingle, rule.permutations, context.seed, within=tasks)
    firsts = similarity.clusters(len(rows), pairs, rule.threshold)
    scores = similarity.lasting(len(rows), pairs)
    later = np.flatnonzero(firsts != np.arange(len(rows)))
    members = np.union1d(later, firsts[later])
    labels = _labels(rows, firsts, members)
    ids = rows["row_id"].take(pa.array(firsts[later])).to_pylist()
    found = {
        position: Finding(rule.action, float(scores[position]), rule.threshold, _detail(first, labels.get(cluster)))
        for position, first, cluster in zip(later.tolist(), ids, firsts[later].tolist(), strict=True)
    }
    sizes = np.bincount(firsts[members], minlength=1)
    figures = {
        "clusters": len(members) - len(later),
        "rows": len(members),
        "largest": int(sizes.max()),
        "labels_differ": len(labels),
    }
    scores[_wordless(texts)] = np.nan
    return Findings(found, scores, figures, {"cluster": _cluster(rows, firsts, members)})


def _detail(first: str, labels: str | None) -> str:
    return f"of row {first}" + (f"; labels of its cluster: {labels}" if labels else "")


def _labels(rows: pa.Table, firsts: NDArray[np.int64], members: NDArray[np.int64]) -> dict[int, str]:
    """The labels of each cluster that has several, by its first's position: `no / yes`.

    A label that is the letter of an option does not count: each row has its options in an order of its own.
    """
    some = rows.select(["label", "choices"]).take(pa.array(members)).to_pylist()
    found: dict[int, set[str]] = {}
    for first, row in zip(firsts[members].tolist(), some, strict=True):
        if row["label"] is not None and row["choices"] != list(ascii_uppercase[: len(row["choices"] or ())]):
            found.setdefault(first, set()).add(row["label"])
    return {first: " / ".join(sorted(labels)) for first, labels in found.items() if len(labels) > 1}


def _cluster(rows: pa.Table, firsts: NDArray[np.int64], members: NDArray[np.int64]) -> pa.Array:
    outside = np.ones(len(rows), dtype=bool)
    outside[members] = False
    found = rows["row_id"].take(pa.array(firsts, mask=outside))
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def _wordless(texts: pa.ChunkedArray) -> NDArray[np.bool_]:
    """(n,) texts of nothing but punctuation and white space."""
    return ~np.asarray(pc.match_substring_regex(pc.fill_null(texts, ""), r"[^\p{P}\p{Z}\p{C}]"))
