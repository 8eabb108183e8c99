"""Empty fields: a row without text, answer or label teaches nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from clew.answers import as_label, parted
from clew.cleaning.finding import Context, Finding, Findings
from clew.errors import DataError
from clew.rows import is_unwanted

if TYPE_CHECKING:
    from clew.cleaning.store import Rows
    from clew.params_clean import Impute, MissingRule

FIELDS = ("text", "completion", "label")
SHOWN = 40
"""Characters of a value that a ledger shows."""

Place = tuple[str, str]
"""(task, source) of a row."""


def find(rows: Rows, rule: MissingRule, context: Context) -> Findings:  # noqa: ARG001 - a rule's form
    """Rows in which a field is empty or blank: of a row with choices its label, of another its completion.

    An answer that was not wanted stands for the completion. What `rule` says of the field happens: the row is dropped,
    the field is filled, or DataError is raised. An answer that was not wanted is dropped and not filled.
    """
    empty: dict[int, list[str]] = {}
    for start, batch in rows.batches([*FIELDS, "choices", "rejected"]):
        labelled = batch["choices"].is_valid().to_pylist()
        said = {"completion": pc.coalesce(batch["completion"], batch["rejected"])}
        for name in FIELDS:
            for position, value in enumerate(said.get(name, batch[name]).to_pylist()):
                if _is_blank(value) and name != ("completion" if labelled[position] else "label"):
                    empty.setdefault(start + position, []).append(name)
    if not empty:
        return Findings()
    fates = {name: getattr(rule, name) for name in FIELDS}
    fillings = {name: _filling(fate, rows, name) for name, fate in fates.items() if not isinstance(fate, str)}
    found = {}
    columns = ["task", "source", "choices", "labels", "row_id", "origin", "completion", "rejected"]
    concerned = rows.take(np.array(sorted(empty)), columns).to_pylist()
    for position, row in zip(sorted(empty), concerned, strict=True):
        place = row["task"], row["source"]
        left = {"completion"} if is_unwanted(row) else set()
        filled = {name: fillings[name](place) for name in empty[position] if name in fillings.keys() - left}
        lacking = [name for name in empty[position] if not filled.get(name)]
        if failing := [name for name in lacking if fates[name] == "fail"]:
            raise _failure(row, failing)
        label = filled.get("label")
        changes = _labelled(label, row) if label else {}
        found[position] = Finding("drop", detail=", ".join(lacking)) if lacking else _filled(filled, changes, rule)
    return Findings(found)


def _labelled(written: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row's new values with the label that was imputed; raises DataError where it is none of the choices."""
    label = as_label(written, row["choices"], several=row["labels"] is not None)
    if label is None:
        raise DataError(
            f"`{written}` is none of the choices ({', '.join(row['choices'])})",
            where="clean.missing.label",
            fix="Impute one of them, or drop.",
        )
    several = {} if row["labels"] is None else {"labels": parted(label, row["choices"])}
    return {"label": label, "completion": label} | several


def _is_blank(value: str | None) -> bool:
    return value is None or not value or value.isspace()


def _filling(impute: Impute, rows: Rows, name: str) -> Callable[[Place], str | None]:
    """What an empty field becomes, by the row's place; where all are empty there is nothing to take."""
    if impute.value is not None:
        return lambda _: impute.value
    counts: dict[Place, Counter[str]] = {}
    for _, batch in rows.batches([name, "task", "source"]):
        for value, *place in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            if not _is_blank(value):
                counts.setdefault(tuple(place), Counter())[value] += 1
    most = {place: min(counter, key=lambda value: (-counter[value], value)) for place, counter in counts.items()}
    return most.get


def _filled(values: Mapping[str, Any], changes: Mapping[str, Any], rule: MissingRule) -> Finding:
    told = ", ".join(f"{name} was empty, now {_told(name, value, rule)}" for name, value in values.items())
    return Finding("fix", detail=told, changes={**values, **changes})


def _told(name: str, value: str, rule: MissingRule) -> str:
    """A value and where it is from. Another row's answer may hold personal data: of it only the origin is told."""
    if getattr(rule, name).value is not None:
        return f"{value[:SHOWN]!r} (constant)"
    origin = "most frequent of its task and source"
    return f"{value[:SHOWN]!r} ({origin})" if name == "label" else f"the {origin}"


def _failure(row: Mapping[str, Any], names: Sequence[str]) -> DataError:
    return DataError(
        f"{', '.join(names)} is empty, and clean.missing says fail",
        where=f"{row['source']}/{row['origin']['file']}, record {row['origin']['record']} (row {row['row_id'][:12]})",
        fix="Mend the source, or set clean.missing to drop or impute.",
    )
