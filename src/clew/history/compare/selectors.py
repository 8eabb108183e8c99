"""Numbers by name, as `--fail-if-worse` has them: `f1`, `stress.f1`, `stress.f1@aligned`, `stress.*@*`."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from clew.errors import HistoryError
from clew.history.compare.model import Number, View


def matches(number: Number, selector: str) -> bool:
    """Whether a selector means a number; without a variant it means those of all, without a task those of all tasks.

    >>> matches(Number("quality", "sft", "stress.f1", {}, {}), "f1@sft")
    True
    """
    name, _, variant = selector.partition("@")
    fits = fnmatchcase(number.name, name) or fnmatchcase(number.name, f"*.{name}")
    return fits and fnmatchcase(number.variant, variant or "*")


def select(view: View, selectors: Iterable[str]) -> list[tuple[str, Number]]:
    """(revision, number) of every number that a selector means; raises HistoryError for one that means none."""
    found = []
    numbers = [(side.after.name, number) for side in view.sides for number in side.numbers if number.kind != "time"]
    for selector in selectors:
        meant = [(name, number) for name, number in numbers if matches(number, selector)]
        if not meant:
            names = sorted({f"{number.name}@{number.variant}" for _, number in numbers} | {n.name for _, n in numbers})
            import difflib

            near = difflib.get_close_matches(selector, names, n=3, cutoff=0.4)
            raise HistoryError(
                "no number of that name in any of the revisions",
                where=f"--fail-if-worse {selector}",
                fix=f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(names[:8]) or 'none'}.",
            )
        found += meant
    return found
