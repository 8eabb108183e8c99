"""Empty fields: a row without text, answer or label teaches nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clew.cleaning.finding import Context, Finding, Findings
from clew.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

    from clew.params_clean import Impute, MissingRule

FIELDS = ("text", "completion", "label")
SHOWN = 40
"""Characters of a value that a ledger shows."""

Place = tuple[str, str]
"""(task, source) of a row."""


def find(rows: pa.Table, rule: MissingRule, context: Context) -> Findings:  # noqa: ARG001 - a rule's form
    """Rows in which a field is empty or blank: of a row with choices its label, of another its completion.

    What `rule` says of the field happens: the row is dropped, the field is filled, or DataError is raised.
    """
    values = {name: rows[name].to_pylist() for name in FIELDS}
    labelled = rows["choices"].is_valid().to_pylist()
    empty: dict[int, list[str]] = {}
    for name in FIELDS:
        for position, value in enumerate(values[name]):
            if _is_blank(value) and name != ("completion" if labelled[position] else "label"):
                empty.setdefault(position, []).append(name)
    if not empty:
        return Findings()
    places = list(zip(rows["task"].to_pylist(), rows["source"].to_pylist(), strict=True))
    fates = {name: getattr(rule, name) for name in FIELDS}
    fillings = {name: _filling(fate, values[name], places) for name, fate in fates.items() if not isinstance(fate, str)}
    found = {}
    for position in sorted(empty):
        filled = {name: fillings[name].get(places[position]) for name in empty[position] if name in fillings}
        lacking = [name for name in empty[position] if not filled.get(name)]
        if failing := [name for name in lacking if fates[name] == "fail"]:
            raise _failure(rows, position, failing)
        if "label" in filled and filled["label"] not in (choices := rows["choices"][position].as_py()):
            raise DataError(
                f"`{filled['label']}` is none of the choices ({', '.join(choices)})",
                where="clean.missing.label",
                fix="Impute one of them, or drop.",
            )
        found[position] = Finding("drop", detail=", ".join(lacking)) if lacking else _filled(filled, rule)
    return Findings(found)


def _is_blank(value: str | None) -> bool:
    return value is None or not value or value.isspace()


def _filling(impute: Impute, values: Sequence[str | None], places: Sequence[Place]) -> Mapping[Place, str]:
    """What an empty field becomes, by the row's place; where all are empty there is nothing to take."""
    if impute.value is not None:
        return dict.fromkeys(places, impute.value)
    counts: dict[Place, Counter[str]] = {}
    for value, place in zip(values, places, strict=True):
        if value is not None and not _is_blank(value):
            counts.setdefault(place, Counter())[value] += 1
    return {place: min(counter, key=lambda value: (-counter[value], value)) for place, counter in counts.items()}


def _filled(values: Mapping[str, Any], rule: MissingRule) -> Finding:
    told = ", ".join(f"{name} was empty, now {_told(name, value, rule)}" for name, value in values.items())
    answer = {"completion": values["label"]} if "label" in values else {}
    return Finding("fix", detail=told, changes={**values, **answer})


def _told(name: str, value: str, rule: MissingRule) -> str:
    """A value and where it is from. Another row's answer may hold personal data: of it only the origin is told."""
    if getattr(rule, name).value is not None:
        return f"{value[:SHOWN]!r} (constant)"
    origin = "most frequent of its task and source"
    return f"{value[:SHOWN]!r} ({origin})" if name == "label" else f"the {origin}"


def _failure(rows: pa.Table, position: int, names: Sequence[str]) -> DataError:
    row = rows.slice(position, 1).to_pylist()[0]
    return DataError(
        f"{', '.join(names)} is empty, and clean.missing says fail",
        where=f"{row['source']}/{row['origin']['file']}, record {row['origin']['record']} (row {row['row_id'][:12]})",
        fix="Mend the source, or set clean.missing to drop or impute.",
    )
