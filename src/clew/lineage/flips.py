"""What another threshold of a cleaning rule would do, from the scores that the last run kept: nothing runs again.

    flips("clean.label_noise.threshold=0.3")  →  Flips(newly=(), no_longer=(Row("5f0c…", score=0.41, …), …), …)

Only the rule itself is asked: what later rules would say of a row that is no longer dropped, or of one that now is,
only a run can tell.
"""

from __future__ import annotations

import difflib
import json
import math
import typing
from collections.abc import Mapping
from typing import Any, NamedTuple

from clew import io, ledger, paths
from clew.cleaning.chain import REVIEW
from clew.errors import DataError, ParamsError
from clew.lineage import thresholds
from clew.params_clean import Clean

COLUMNS = ("row_id", "source", "file", "record", "decision", "rule", "also")


PARTLY = ("near_duplicates",)
"""Rules that measure all that the threshold finds, and of the rest what they come across."""


class Row(NamedTuple):
    """A row that flips. margin: how far its score is from the new threshold; positive where it would be found.

    now: what the last run decided about it, and by which rule.
    """

    row_id: str
    source: str
    file: str
    record: int
    score: float
    margin: float
    now: str
    rule: str | None


class Flips(NamedTuple):
    """name: below `clean`. before, after: the threshold. found: rows found with the old one, of `measured`.

    newly: rows that would be found; no_longer: rows that would not. Both by margin, the surest first. settled: rows
    that would flip, but for what a person decided about them. at_least: more may be found, since not all was measured
    on that side of the threshold.
    """

    name: str
    before: float
    after: float
    measured: int
    found: int
    newly: tuple[Row, ...]
    no_longer: tuple[Row, ...]
    settled: int
    at_least: bool


def flips(setting: str) -> Flips:
    """What `clean.RULE.PARAM=VALUE` would change; raises ParamsError for what is no such setting, and DataError."""
    import numpy as np
    import pyarrow.parquet as pq

    name, after = _setting(setting)
    rule, _, param = name.partition(".")
    section = thresholds.of_last_run().get(rule)
    fix = f"Set clean.{rule} in params.yaml and run `dvc repro clean`."
    if section is None:
        raise DataError("the rule was off in the last run, so nothing was measured", where=f"clean.{rule}", fix=fix)
    if not paths.SCORES.exists():
        raise DataError(
            "the file does not exist", where=str(paths.SCORES), fix="`dvc checkout` or `dvc pull` brings it."
        )
    if rule not in pq.read_schema(paths.SCORES).names:
        raise DataError("the rule saw no row in the last run", where=f"clean.{rule}", fix=fix)
    scores = ledger.rounded(pq.read_table(paths.SCORES, columns=[rule])[rule].to_numpy())
    _check(rule, {**section, param: int(after) if after.is_integer() else after})
    side, before = thresholds.THRESHOLDS[name], float(section[param])
    was, would = (thresholds.are_found(scores, side, value) for value in (before, after))
    table = io.read_table(paths.ledger("clean"), ledger.SCHEMA, COLUMNS)
    if len(table) != len(scores):
        raise DataError(
            "it does not belong to the ledger that lies there", where=str(paths.SCORES), fix="Run `dvc checkout`."
        )

    flipped = np.flatnonzero(was != would)
    told = dict(zip(flipped.tolist(), table.take(flipped).to_pylist(), strict=True))
    settled = {position for position, entry in told.items() if _is_settled(entry)}

    def rows(mask: Any) -> tuple[Row, ...]:
        positions = [position for position in np.flatnonzero(mask).tolist() if position not in settled]
        some = zip([told[position] for position in positions], scores[positions].tolist(), strict=True)
        made = [
            Row(
                *(row["row_id"], row["source"], row["file"], row["record"]),
                *(score, thresholds.margin(score, side, after), row["decision"], row["rule"]),
            )
            for row, score in some
        ]
        return tuple(sorted(made, key=lambda row: (-abs(row.margin), row.row_id)))

    measured, found = int((~np.isnan(scores)).sum()), int(was.sum())
    at_least = rule in PARTLY and bool(thresholds.margin(before, side, after) > 0)
    return Flips(name, before, after, measured, found, rows(would & ~was), rows(was & ~would), len(settled), at_least)


def _is_settled(entry: Mapping[str, Any]) -> bool:
    """Whether a person decided about the row of a ledger entry."""
    return REVIEW in (entry["rule"], *(also["rule"] for also in entry["also"] or ()))


def _check(rule: str, section: Mapping[str, Any]) -> None:
    """Raise ParamsError where params.yaml could not hold a rule's section."""
    from pydantic import ValidationError

    (kind,) = (some for some in typing.get_args(typing.get_type_hints(Clean)[rule]) if some is not type(None))
    try:
        kind.model_validate_json(json.dumps(section))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(["clean", rule, *map(str, first["loc"])])
        raise ParamsError(first["msg"], where=place, fix="See `clew params schema` for what it may be.") from None


def _setting(text: str) -> tuple[str, float]:
    """`clean.length.min_words=4` → ("length.min_words", 4.0)."""
    path, equals, value = text.partition("=")
    name = path.strip().removeprefix("clean.")
    example = "Write it so: clew rows flips clean.label_noise.threshold=0.3"
    if name not in thresholds.THRESHOLDS:
        near = difflib.get_close_matches(name, thresholds.THRESHOLDS, n=1, cutoff=0.5)
        hint = f"Did you mean clean.{near[0]}?" if near else f"There are: {', '.join(thresholds.THRESHOLDS)}."
        raise ParamsError("no threshold of a cleaning rule", where=path.strip(), fix=hint)
    try:
        number = float(value)
        if not math.isfinite(number):
            raise ValueError
        return name, number
    except ValueError:
        what = f"{value.strip()!r} is no number" if equals else "there is no `=` and no value"
        raise ParamsError(what, where=text, fix=example) from None
