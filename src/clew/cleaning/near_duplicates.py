"""Nearly the same text again in one task: by the Jaccard similarity of its shingles, found with MinHash (rensa)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Set
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clew import similarity
from clew.cleaning import duplicates
from clew.cleaning.finding import Context, Finding, Findings, where

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clew.cleaning.store import Rows
    from clew.params_clean import NearDuplicatesRule


def find(rows: Rows, rule: NearDuplicatesRule, context: Context) -> Findings:
    """All rows of a cluster but its first; `cluster` is the first's row_id for all of them, whatever the action.

    A question of multiple choice is a copy of another only where its options are the same, in whatever order; in a task
    with answers that were not wanted, a copy is a row with the same judged answer, too (duplicates.judged).

    A row's score is the highest threshold at which it would still be found (similarity.lasting): the Jaccard similarity
    to the nearest earlier row, unless a chain of rows links it better to one. NaN where a text has no words.
    """
    n = len(rows)
    codes: dict[str, int] = {}
    tasks = np.fromiter((codes.setdefault(task, len(codes)) for task in rows.values("task")), np.int32, n)
    texts = similarity.Texts(n, lambda: (batch["text"].combine_chunks() for _, batch in rows.batches(["text"])))
    near_pairs = partial(similarity.near_pairs, texts, rule.threshold, rule.shingle, rule.permutations, context.seed)
    pairs = near_pairs(within=tasks)
    firsts = similarity.clusters(n, pairs, rule.threshold)
    linked = np.flatnonzero(firsts != np.arange(n))
    members = np.union1d(linked, firsts[linked])
    labels = _labels(rows, firsts, members)
    cluster = _cluster(rows, firsts, members)
    later, ids = linked, cluster.take(pa.array(linked)).to_pylist()
    judging = duplicates.judging(rows)
    if judging or len(where(rows, ["options"], lambda batch: batch["options"].is_valid())):
        alike = np.fromiter(_alike(rows, judging), np.int64, n)
        pairs = near_pairs(within=alike) if judging else _of_one(alike, pairs)
        copy_of = similarity.clusters(n, pairs, rule.threshold)
        later = np.flatnonzero(copy_of != np.arange(n))
        ids = _cluster(rows, copy_of, np.union1d(later, copy_of[later])).take(pa.array(later)).to_pylist()
    scores = similarity.lasting(n, pairs)
    found = {
        position: Finding(rule.action, float(scores[position]), rule.threshold, _detail(first_id, labels.get(first)))
        for position, first_id, first in zip(later.tolist(), ids, firsts[later].tolist(), strict=True)
    }
    sizes = np.bincount(firsts[members], minlength=1)
    figures = {
        "clusters": len(members) - len(linked),
        "rows": len(members),
        "largest": int(sizes.max()),
        "labels_differ": len(labels),
    }
    scores[where(rows, ["text"], _wordless)] = np.nan
    return Findings(found, scores, figures, {"cluster": cluster})


def _alike(rows: Rows, tasks: Set[str]) -> Iterator[int]:
    """A number for each row: the same where task, options and judged answer are."""
    known: dict[bytes, int] = {}
    for _, batch in rows.batches([*duplicates.ANSWERS, "options"]):
        for row in batch.to_pylist():
            alike = row["task"], duplicates.in_any_order(row["options"]), duplicates.judged(row, tasks)
            key = repr(alike).encode()
            yield known.setdefault(hashlib.blake2b(key, digest_size=16).digest(), len(known))


def _of_one(values: NDArray[np.int64], pairs: similarity.Pairs) -> similarity.Pairs:
    """The pairs whose two have one value."""
    same = values[pairs.left] == values[pairs.right]
    return similarity.Pairs(*(part[same] for part in pairs))


def _detail(first: str, labels: str | None) -> str:
    return f"of row {first}" + (f"; labels of its cluster: {labels}" if labels else "")


def _labels(rows: Rows, firsts: NDArray[np.int64], members: NDArray[np.int64]) -> dict[int, str]:
    """The labels of each cluster that has several, by its first's position: `no / yes`.

    A label that is the letter of an option does not count: each row has its options in an order of its own.
    """
    some = rows.take(members, ["label", "options"]).to_pylist()
    found: dict[int, set[str]] = {}
    for first, row in zip(firsts[members].tolist(), some, strict=True):
        if row["label"] is not None and row["options"] is None:
            found.setdefault(first, set()).add(row["label"])
    return {first: " / ".join(sorted(labels)) for first, labels in found.items() if len(labels) > 1}


def _cluster(rows: Rows, firsts: NDArray[np.int64], members: NDArray[np.int64]) -> pa.Array:
    """(n,) the row_id of the first of each member's cluster; null for other rows."""
    heads, which = np.unique(firsts[members], return_inverse=True)
    place, outside = np.zeros(len(firsts), dtype=np.int64), np.ones(len(firsts), dtype=bool)
    place[members], outside[members] = which, False
    ids = rows.take(heads, ["row_id"])["row_id"].combine_chunks()
    return ids.take(pa.array(place, mask=outside))


def _wordless(batch: pa.Table) -> pa.ChunkedArray:
    """Texts of nothing but punctuation and white space."""
    return pc.invert(pc.match_substring_regex(pc.fill_null(batch["text"], ""), r"[^\p{P}\p{Z}\p{C}]"))
