"""Filter expressions over params and metrics: `sft.epochs >= 2 and stress.f1@sft > 0.7 or sft.method = lora`.

`and` binds before `or`; there are no brackets; what stands in quotes is one text. A name that a commit does not have
makes its comparison false.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from clew.errors import HistoryError

COMPARISON = re.compile(r"\s*(?P<name>[^\s<>=!~]+)\s*(?P<op><=|>=|!=|==|=|<|>|~)\s*(?P<value>[^=~<>!\s].*?)\s*")
WORD = re.compile(r"\"[^\"]*\"|'[^']*'|\s+|[^\s\"']+|[\"']")
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "~": lambda have, pattern: re.search(str(pattern), str(have)) is not None,
}


class Comparison(NamedTuple):
    """One `name op value`; name: in full."""

    name: str
    op: str
    value: Any


Where = list[list[Comparison]]
"""Alternatives, each a list of comparisons that all must hold."""


def parse(text: str, full_name: Callable[[str], str]) -> Where:
    """An expression; `full_name` gives that of a typed one. Raises HistoryError where it is none."""
    alternatives: list[list[str]] = [[""]]
    for word in WORD.findall(text):
        if word.lower() == "or":
            alternatives.append([""])
        elif word.lower() == "and":
            alternatives[-1].append("")
        else:
            alternatives[-1][-1] += word
    return [[_comparison(part, full_name) for part in some] for some in alternatives]


def _comparison(text: str, full_name: Callable[[str], str]) -> Comparison:
    match = COMPARISON.fullmatch(text)
    if match is None:
        raise HistoryError(
            "not a comparison",
            where=f"--where `{text.strip()}`",
            fix="Write NAME OP VALUE, such as `sft.epochs >= 2`; operators: < <= > >= = != ~ (a regular expression).",
        )
    name = full_name(match["name"])
    if match["op"] == "~":
        try:
            re.compile(match["value"])
        except re.error as error:
            raise HistoryError(
                f"not a regular expression ({error})", where=f"--where `{text}`", fix="Mend it."
            ) from None
        return Comparison(name, "~", match["value"])
    return Comparison(name, match["op"], _value(match["value"]))


def _value(text: str) -> Any:
    """A number, true, false, null or a quoted text as JSON has them; anything else is the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text.strip("'\"")


def holds(where: Where, values: Mapping[str, Any]) -> bool:
    """Whether an expression is true of a commit's params and metrics."""
    return any(all(_holds(comparison, values) for comparison in some) for some in where)


def _holds(comparison: Comparison, values: Mapping[str, Any]) -> bool:
    if values.get(comparison.name) is None:
        return False
    have = values[comparison.name]
    if isinstance(comparison.value, list) and isinstance(have, str):  # as the index gives a list: its JSON text
        with suppress(ValueError):
            have = json.loads(have)
    try:
        return bool(OPERATORS[comparison.op](have, comparison.value))
    except TypeError:  # a text is neither more nor less than a number
        return False
