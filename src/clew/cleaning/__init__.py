"""Cleaning rules: a file each, pure. A rule looks at rows and finds those to drop, mend, weigh less or send to review.

To add one: a file with `find(rows, rule, context) -> Findings`, a class in params_clean.py, a line in RULES. A rule
that judges each row by itself (BY_ROW) is given tables of some thousand rows, and its figures are counts, which are
added up; any other is given all rows (store.Rows), which it reads batch by batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clew.cleaning import (
    annotators,
    contradictions,
    duplicates,
    hygiene,
    label_noise,
    language,
    length,
    mismatch,
    missing,
    near_duplicates,
    outliers,
    personal_data,
    preferences,
    refusal,
    relevance,
    repetition,
    token_labels,
    toxicity,
    truncated,
)
from clew.cleaning.finding import Context, Finding, Findings

RULES: dict[str, Callable[[Any, Any, Context], Findings]] = {
    "missing": missing.find,
    "hygiene": hygiene.find,
    "length": length.find,
    "language": language.find,
    "repetition": repetition.find,
    "refusal": refusal.find,
    "truncated": truncated.find,
    "personal_data": personal_data.find,
    "toxicity": toxicity.find,
    "contradictions": contradictions.find,
    "duplicates": duplicates.find,
    "near_duplicates": near_duplicates.find,
    "relevance": relevance.find,
    "mismatch": mismatch.find,
    "outliers": outliers.find,
    "annotators": annotators.find,
    "label_noise": label_noise.find,
    "token_labels": token_labels.find,
    "preferences": preferences.find,
}
"""name (= section under `clean`) → rule, in the order in which they are applied."""

BY_ROW = frozenset({"hygiene", "length", "language", "repetition", "refusal", "personal_data"})
"""Rules that judge each row by itself."""

__all__ = ["BY_ROW", "RULES", "Context", "Finding", "Findings"]
