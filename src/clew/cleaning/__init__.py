"""Cleaning rules: a file each, pure. A rule looks at rows and finds those to drop, mend, weigh less or send to review.

To add one: a file with `find(rows, rule, context) -> Findings`, a class in params_clean.py, a line in RULES.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    import pyarrow as pa

RULES: dict[str, Callable[[pa.Table, Any, Context], Findings]] = {
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

__all__ = ["RULES", "Context", "Finding", "Findings"]
