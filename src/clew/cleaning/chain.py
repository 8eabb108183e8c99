"""The rules, one after the other: a rule sees only the rows that those before it left, as they left them.

    apply(rows, clean, seed, {}) → Outcome(rows, found={1: [Found("length", Finding("drop", 3.0))]}, …)
    rows.left → [True, False]

What a person decided (`data/review/decisions/`) comes first and stands over every rule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clew.cleaning import BY_ROW, RULES, review
from clew.cleaning.finding import TEXTS, Context, Finding, Findings
from clew.cleaning.store import within

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clew.cleaning.messages import Templates
    from clew.cleaning.review import Decisions, Said
    from clew.cleaning.store import Rows
    from clew.params_clean import Clean

SEEN = (
    *("row_id", "source", "origin", "task", "text", "completion", "label", "choices", "rejected"),
    *("annotations", "tokens", "tags", "labels", "options", "cluster", "weight"),
)
"""The columns of a row that rules see. The rest is only carried over when the rows are written."""
BESIDE = "beside"
"""A column that is no row's own: its messages, where they hold more than its text and the template (messages.beside);
else null."""
MENDED = (*TEXTS, "options")
"""The columns that a finding's mend is applied to."""
CHANGED = (*MENDED, "label", "labels", "tokens", "weight")
"""The columns that findings change."""
REVIEW = "review"


class Found(NamedTuple):
    """A finding with the rule that found it."""

    rule: str
    finding: Finding


@dataclass(frozen=True)
class Outcome:
    """What rules found. rows: as they left them; `rows.left` says which are left.

    found: position → what rules found of the row, in their order. scores: rule → (n,), NaN where it saw no row.
    """

    rows: Rows
    found: dict[int, list[Found]]
    scores: dict[str, NDArray[np.float32]]
    figures: dict[str, Any]

    def deciding(self, position: int) -> Found | None:
        """The finding that decided about a row: what dropped it, else what changed it, else a person, else the last."""
        order = {"drop": 3, "fix": 2, "downweight": 2}

        def weight(one: Found) -> int:
            return order.get(one.finding.action, int(one.rule == REVIEW))

        return max(reversed(self.found.get(position, ())), key=weight, default=None)


def apply(
    rows: Rows, clean: Clean, seed: int, decisions: Decisions, templates: Templates = MappingProxyType({})
) -> Outcome:
    """Apply the rules of `clean` that are not null to `rows` (columns SEEN, BESIDE).

    Of a row that a person decided about, rules mend the texts and fill what is empty, as in the queue that the person
    saw; whatever else they find is told in the ledger and changes nothing. Copies of such a row are copies as any.
    """
    said, told = review.said(rows.values("row_id"), decisions)
    outcome = Outcome(rows, {}, {}, {REVIEW: told} if decisions else {})
    context = Context(seed, clean.features, clean.objective, templates)
    if said:
        of_person = Findings(review.findings(rows, said))
        _settle(outcome, _note(outcome, REVIEW, of_person, np.arange(len(rows)), {}), clean.downweight)
    declared = [name for name in RULES if getattr(clean, name) is not None]
    for alone, names in groupby(declared, key=BY_ROW.__contains__):
        if alone:
            _judge_each(outcome, list(names), clean, context, said)
            continue
        for name in names:
            if len(rows):
                findings = RULES[name](rows, getattr(clean, name), context)
                _fill(rows, findings.columns)
                noted = _note(outcome, name, findings, np.flatnonzero(rows.left), said)
                _settle(outcome, noted, clean.downweight)
    return outcome


def _judge_each(
    outcome: Outcome, names: Sequence[str], clean: Clean, context: Context, said: Mapping[int, Said]
) -> None:
    """Do rules that judge each row by itself: all of them on a batch, before the next is read."""
    rows = outcome.rows

    def changed() -> Iterator[pa.Table]:
        for start, batch in rows.read([*SEEN, BESIDE]):
            left = rows.left[start : start + len(batch)]
            now = batch.filter(pa.array(left))
            for name in names:
                if not left.any():
                    break
                findings = RULES[name](now, getattr(clean, name), context)
                noted = _note(outcome, name, findings, start + np.flatnonzero(left), said)
                dropped = [at - start for at in _dropped(noted)]
                left[dropped] = False
                before, batch = batch, _changed(batch, {at - start: one for at, one in noted.items()}, clean.downweight)
                if dropped or batch is not before:
                    now = batch.filter(pa.array(left))
            yield batch.select(CHANGED)

    rows.put(rows.schema(CHANGED), changed())


def _note(
    outcome: Outcome, rule: str, findings: Findings, positions: NDArray[np.int64], said: Mapping[int, Said]
) -> dict[int, Finding]:
    """Note what a rule found of the rows at `positions`; the findings by position, as a person lets them stand."""
    noted = {}
    for local in sorted(findings.by_position):
        position, finding = int(positions[local]), findings.by_position[local]
        if position in said:
            finding = review.overruled(rule, finding, said[position])
        noted[position] = finding
        outcome.found.setdefault(position, []).append(Found(rule, finding))
    if findings.scores is not None:
        n = len(outcome.rows.left)
        outcome.scores.setdefault(rule, np.full(n, np.nan, dtype=np.float32))[positions] = findings.scores
    if findings.figures:
        before = outcome.figures.get(rule)
        outcome.figures[rule] = dict(Counter(before) + Counter(findings.figures) if before else findings.figures)
    return noted


def _settle(outcome: Outcome, noted: Mapping[int, Finding], weight: float) -> None:
    """Do what findings say."""
    rows = outcome.rows
    names = {name for finding in noted.values() for name in _touched(finding)}
    if names:
        positions = np.array(list(noted))

        def changed() -> Iterator[pa.Table]:
            for start, batch in rows.read(sorted(names)):
                here = within(positions, start, len(batch)).tolist()
                yield _changed(batch, {at: noted[start + at] for at in here}, weight)

        rows.put(rows.schema(sorted(names)), changed())
    rows.left[list(_dropped(noted))] = False


def _dropped(noted: Mapping[int, Finding]) -> list[int]:
    return [position for position, finding in noted.items() if finding.action == "drop"]


def _touched(finding: Finding) -> Iterable[str]:
    """The columns that it changes."""
    if finding.action == "downweight":
        return ("weight",)
    if finding.action != "fix":
        return ()
    return (*(finding.changes or ()), *(MENDED if finding.mend else ()))


def _changed(batch: pa.Table, noted: Mapping[int, Finding], weight: float) -> pa.Table:
    """The batch as the findings (by position in it, ascending) leave it."""
    values = _mended(batch, {at: finding for at, finding in noted.items() if finding.action == "fix"})
    lighter = [at for at, finding in noted.items() if finding.action == "downweight"]
    if lighter:
        values["weight"] = dict(zip(lighter, (batch["weight"].to_numpy()[lighter] * weight).tolist(), strict=True))
    for name, some in values.items():
        batch = _replaced(batch, name, some)
    return batch


def _mended(whole: pa.Table, fixes: Mapping[int, Finding]) -> dict[str, dict[int, Any]]:
    """Column → position → new value: what a finding says, else the row's texts mended. None stays None."""
    values: dict[str, dict[int, Any]] = {}
    for position, finding in fixes.items():
        for name, value in (finding.changes or {}).items():
            values.setdefault(name, {})[position] = value
    mends = {position: finding.mend for position, finding in fixes.items() if finding.mend is not None}
    for name in MENDED if mends else ():
        texts = whole[name].take(pa.array(list(mends))).to_pylist()
        for (position, mend), text in zip(mends.items(), texts, strict=True):
            if isinstance(text, list):
                values.setdefault(name, {})[position] = [mend(one) for one in text]
            elif text is not None:
                values.setdefault(name, {})[position] = mend(text) or (None if name == "rejected" else "")
    return values


def _replaced(whole: pa.Table, name: str, values: Mapping[int, Any]) -> pa.Table:
    """The table with new values of a column at some positions (ascending)."""
    column = whole[name].combine_chunks()
    given = pa.array(list(values.values()), type=column.type)
    if pa.types.is_nested(column.type):  # which replace_with_mask does not know
        indices = np.arange(len(whole))
        indices[list(values)] = len(whole) + np.arange(len(given))
        new = pa.concat_arrays([column, given]).take(pa.array(indices))
    else:
        mask = np.zeros(len(whole), dtype=bool)
        mask[list(values)] = True
        new = pc.replace_with_mask(column, pa.array(mask), given)
    return whole.set_column(whole.schema.get_field_index(name), name, new)


def _fill(rows: Rows, columns: Mapping[str, pa.Array]) -> None:
    """Put columns that a rule filled for the rows that are left; null for the others."""

    def filled() -> Iterator[pa.Table]:
        done = 0
        for start, batch in rows.read(list(columns)):
            left = rows.left[start : start + len(batch)]
            where = pa.array(done + np.cumsum(left) - 1, mask=~left)
            yield pa.table({name: values.take(where) for name, values in columns.items()})
            done += int(np.count_nonzero(left))

    if columns:
        rows.put(rows.schema(list(columns)), filled())
