"""Missing values of tabular sources, column by column, as `prepare.tasks.<task>.missing` declares them.

{"age": "", "ward": "B"}, age: {type: number, action: median}
→ {"age": "34", "ward": "B"} and "age was empty, now 34 (median of source)"

Of a value that is a record's own (the most frequent) only the origin is told: it may be personal.
"""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from clew.errors import DataError

if TYPE_CHECKING:
    from clew.params import MissingColumn
    from clew.records import Record

DIGITS = 6
"""Of a mean or median."""
DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]|$)")
"""How a date begins: ISO 8601 has shorter forms and weeks, too, which fromisoformat reads."""


class Dropped(Exception):  # noqa: N818 - a record's verdict, not an error of the program
    """A record that lacks a value without which it is to be dropped."""


def lacking(value: Any, kind: str) -> str | None:
    """Why a value is missing: `empty`, `not a number` or `not a date`; None where it is there."""
    if value is None or (isinstance(value, str) and not value.strip()) or value != value:  # NaN
        return "empty"
    if kind == "number":
        return None if _number(value) is not None else "not a number"
    if kind == "date":
        return None if _is_date(value) else "not a date"
    return None


def _number(value: Any) -> float | None:
    """The finite number that a value is or writes."""
    if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _is_date(value: Any) -> bool:
    if isinstance(value, date):
        return True
    text = str(value).strip()
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return DATE.match(text) is not None


def fillings(declared: Mapping[str, MissingColumn], records: Iterable[Record], *, text: bool) -> dict[str, Any]:
    """column → what fills it, of the columns that are filled. text: whether all values are text, as in CSV.

    Records are read only where a column asks for what they hold; a column without a value to take is left out.
    """
    found: dict[str, Any] = {
        name: column.action.constant for name, column in declared.items() if not isinstance(column.action, str)
    }
    counted = {name: Counter[Any]() for name, column in declared.items() if column.action == "most_frequent"}
    numbers = {name: array("d") for name, column in declared.items() if column.action in ("median", "mean")}
    if counted or numbers:
        for record in records:
            for name, values in numbers.items():
                if (number := _number(record.get(name))) is not None:
                    values.append(number)
            for name, counts in counted.items():
                value = record.get(name)
                if lacking(value, declared[name].type) is None and isinstance(value, (str, int, float, date)):
                    counts[value] += 1
    found |= {name: _most_frequent(counts) for name, counts in counted.items() if counts}
    found |= {name: _middle(values, str(declared[name].action)) for name, values in numbers.items() if values}
    return {name: str(value) for name, value in found.items()} if text else found


def _most_frequent(counts: Counter[Any]) -> Any:
    return min(counts, key=lambda value: (-counts[value], str(value)))


def _middle(values: array[float], action: str) -> float:
    import statistics

    middle = statistics.median(values) if action == "median" else math.fsum(values) / len(values)
    return int(middle) if middle.is_integer() else round(middle, DIGITS)


def filled(
    record: Record, declared: Mapping[str, MissingColumn], values: Mapping[str, Any], where: str
) -> tuple[Record, str | None]:
    """The record with its missing values filled, and what was done, if anything. where: the record's place.

    Raises Dropped (why) for a record that is to be dropped, and DataError where a value must not be missing or there is
    none to take.
    """
    told = []
    for name, column in declared.items():
        why = lacking(record.get(name), column.type)
        if why is None:
            continue
        if column.action == "drop":
            raise Dropped(f"{name} is {why}")
        if column.action == "fail":
            raise DataError(f"`{name}` is {why}, and `missing` says fail", where=where, fix="Mend the source.")
        if name not in values:
            what = f"`{name}` is {why}, and no record has a value to fill it with"
            raise DataError(what, where=where, fix="Declare another action, such as {constant: …}.")
        record = {**record, name: values[name]}
        if column.action == "most_frequent":
            told.append(f"{name} was {why}, now the most frequent of source")
        else:
            origin = f"{column.action} of source" if isinstance(column.action, str) else "constant"
            told.append(f"{name} was {why}, now {str(values[name])[:40]} ({origin})")
    return record, "; ".join(told) or None
