"""Cleaning rules: a file each, pure. A rule looks at rows and finds those to drop or to change.

To add one: a file with `find(rows, rule, seed) -> Findings`, a class in params.py, a line in RULES.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clew.cleaning import duplicates, label_noise, length, missing
from clew.cleaning.finding import Finding, Findings

RULES: dict[str, Callable[[list[dict[str, Any]], Any, int], Findings]] = {
    "missing": missing.find,
    "length": length.find,
    "duplicates": duplicates.find,
    "label_noise": label_noise.find,
}
"""name (= section under `clean`) → rule, in the order in which they are applied."""

__all__ = ["RULES", "Finding", "Findings"]
