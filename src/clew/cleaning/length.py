"""Texts too short to mean anything, or too long to be learnt whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clew.cleaning.finding import Context, Finding, Findings

if TYPE_CHECKING:
    import pyarrow as pa

    from clew.params_clean import LengthRule


def find(rows: pa.Table, rule: LengthRule, context: Context) -> Findings:  # noqa: ARG001 - a rule's form
    """Rows whose text has fewer than `min_words` or more than `max_words` words (split at white space)."""
    words = np.array([len((text or "").split()) for text in rows["text"].to_pylist()], dtype=np.int64)
    found = {}
    for position in np.flatnonzero((words < rule.min_words) | (words > rule.max_words)).tolist():
        count = int(words[position])
        threshold = rule.min_words if count < rule.min_words else rule.max_words
        found[position] = Finding(rule.action, score=count, threshold=threshold, detail=f"{count} words")
    return Findings(found, scores=words.astype(np.float32))
