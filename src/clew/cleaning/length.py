"""Texts too short to mean anything, or too long to be learnt whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clew.cleaning.finding import Finding, Findings

if TYPE_CHECKING:
    from clew.params import LengthRule


def find(rows: list[dict[str, Any]], rule: LengthRule, seed: int) -> Findings:  # noqa: ARG001 - a rule's form
    """Drop rows whose text has fewer than `min_words` or more than `max_words` words (split at white space)."""
    found = {}
    for position, row in enumerate(rows):
        words = len((row["text"] or "").split())
        if words < rule.min_words:
            found[position] = _finding(words, rule.min_words)
        elif words > rule.max_words:
            found[position] = _finding(words, rule.max_words)
    return Findings(found)


def _finding(words: int, threshold: int) -> Finding:
    return Finding("dropped", "length", score=words, threshold=threshold, detail=f"{words} words")
