"""The rules, one after the other: a rule sees only the rows that those before it left, as they left them.

    apply(rows, clean, seed, {}) → Outcome(stay=[True, False], found={1: [Found("length", Finding("drop", 3.0))]}, …)

What a person decided (`data/review/decisions/`) comes first and stands over every rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clew.cleaning import RULES, review
from clew.cleaning.finding import TEXTS, Context, Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clew.cleaning.review import Decisions
    from clew.params_clean import Clean

SEEN = (
    *("row_id", "source", "origin", "task", "text", "completion", "label", "choices", "rejected"),
    *("annotations", "tokens", "tags", "cluster", "weight"),
)
"""The columns of a row that rules see. The rest is only carried over, batch by batch, when the rows are written."""
BESIDE = "beside"
"""A column that is no row's own: what its prompt holds beside its text and the template (messages.beside); null where
that is nothing."""
OPTIONS = "options"
"""Another such: the options of a multiple-choice question by their letters, A first; null for other rows."""
REVIEW = "review"


class Found(NamedTuple):
    """A finding with the rule that found it."""

    rule: str
    finding: Finding


@dataclass(frozen=True)
class Outcome:
    """What became of rows. stay (n,): which are left. rows: the columns SEEN of all n, as the rules left them.

    found: position → what rules found of the row, in their order. scores: rule → (n,), NaN where it saw no row.
    """

    stay: NDArray[np.bool_]
    rows: pa.Table
    found: Mapping[int, Sequence[Found]]
    scores: Mapping[str, NDArray[np.float32]]
    figures: Mapping[str, Any]

    def deciding(self, position: int) -> Found | None:
        """The finding that decided about a row: what dropped it, else what changed it, else a person, else the last."""
        order = {"drop": 3, "fix": 2, "downweight": 2}

        def weight(one: Found) -> int:
            return order.get(one.finding.action, int(one.rule == REVIEW))

        return max(reversed(self.found.get(position, ())), key=weight, default=None)


def apply(rows: pa.Table, clean: Clean, seed: int, decisions: Decisions) -> Outcome:
    """Apply the rules of `clean` that are not null to `rows` (columns SEEN, BESIDE, OPTIONS).

    Of a row that a person decided about, rules mend the texts and fill what is empty, as in the queue that the person
    saw; whatever else they find is told in the ledger and changes nothing. Copies of such a row are copies as any.
    """
    whole = _with_large_texts(rows)
    left = np.arange(len(rows))
    found: dict[int, list[Found]] = {}
    scores: dict[str, NDArray[np.float32]] = {}
    figures: dict[str, Any] = {}
    context = Context(seed, clean.features, clean.objective)

    said, told = review.said(whole, decisions)
    whole, left = _settle(whole, left, REVIEW, review.findings(whole, said), found, clean.downweight)
    if decisions:
        figures[REVIEW] = told
    taken, now = (whole, left), whole if len(left) == len(whole) else whole.take(left)
    for name, find in RULES.items():
        rule = getattr(clean, name)
        if rule is None or not len(left):
            continue
        if taken[0] is not whole or taken[1] is not left:  # copying millions of texts takes longer than many a rule
            taken, now = (whole, left), whole.take(left)
        findings = find(now, rule, context)
        by_position = {
            (position := int(left[local])): (
                review.overruled(name, finding, said[position]) if position in said else finding
            )
            for local, finding in findings.by_position.items()
        }
        whole = _filled(whole, left, findings.columns)
        if findings.scores is not None:
            scores[name] = np.full(len(whole), np.nan, dtype=np.float32)
            scores[name][left] = findings.scores
        if findings.figures:
            figures[name] = dict(findings.figures)
        whole, left = _settle(whole, left, name, by_position, found, clean.downweight)
    stay = np.zeros(len(whole), dtype=bool)
    stay[left] = True
    return Outcome(stay, whole, found, scores, figures)


def _with_large_texts(rows: pa.Table) -> pa.Table:
    """With 64-bit offsets: the texts of all rows together may be more than 2 GB."""
    large = {name: pa.large_string() for name in ("row_id", *TEXTS, BESIDE)}
    fields = [field.with_type(large.get(field.name, field.type)) for field in rows.schema]
    return rows.cast(pa.schema(fields)).combine_chunks()


def _settle(
    whole: pa.Table,
    left: NDArray[np.int64],
    rule: str,
    findings: Mapping[int, Finding],
    found: dict[int, list[Found]],
    weight: float,
) -> tuple[pa.Table, NDArray[np.int64]]:
    """Do what the findings (by position in `whole`) say, and note them in `found`."""
    by_action: dict[str, list[int]] = {}
    for position in sorted(findings):
        found.setdefault(position, []).append(Found(rule, findings[position]))
        by_action.setdefault(findings[position].action, []).append(position)
    dropped, lighter = by_action.get("drop"), by_action.get("downweight")
    values = _mended(whole, {position: findings[position] for position in by_action.get("fix", ())})
    if lighter:
        values["weight"] = dict(zip(lighter, (whole["weight"].to_numpy()[lighter] * weight).tolist(), strict=True))
    for name, some in values.items():
        whole = _replaced(whole, name, some)
    if dropped:
        left = left[~np.isin(left, dropped)]
    return whole, left


def _mended(whole: pa.Table, fixes: Mapping[int, Finding]) -> dict[str, dict[int, Any]]:
    """Column → position → new value: what a finding says, else the row's texts mended. None stays None."""
    values: dict[str, dict[int, Any]] = {}
    for position, finding in fixes.items():
        for name, value in (finding.changes or {}).items():
            values.setdefault(name, {})[position] = value
    mends = {position: finding.mend for position, finding in fixes.items() if finding.mend is not None}
    for name in TEXTS if mends else ():
        texts = whole[name].take(pa.array(list(mends))).to_pylist()
        for (position, mend), text in zip(mends.items(), texts, strict=True):
            if text is not None:
                values.setdefault(name, {})[position] = mend(text)
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


def _filled(whole: pa.Table, left: NDArray[np.int64], columns: Mapping[str, pa.Array]) -> pa.Table:
    """The table with columns that a rule filled for the rows that are left; null for the others."""
    where = np.full(len(whole), -1)
    where[left] = np.arange(len(left))
    indices = pa.array(where, mask=where < 0)
    for name, values in columns.items():
        kind = whole.schema.field(name).type
        whole = whole.set_column(whole.schema.get_field_index(name), name, values.take(indices).cast(kind))
    return whole
