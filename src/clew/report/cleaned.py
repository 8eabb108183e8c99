"""What the page shows of cleaning: a few rows that each rule found, and the labels before and after."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clew import io, ledger, paths, rows
from clew.cleaning import RULES, Context, Findings, chain, hygiene, personal_data
from clew.cleaning.finding import TEXTS
from clew.params_clean import Clean

EXAMPLES = 3
"""Of each rule and source."""
ORDER = (chain.REVIEW, *RULES)
ALSO = {"drop": "dropped", "fix": "changed", "downweight": "changed", "review": "kept", "keep": "kept"}
"""action of a finding that did not decide → what became of the row by it."""

Mend = Callable[[str], str]


class Example(NamedTuple):
    """A row that a rule found. start, end: the offending part of `text`, in characters; None where there is none."""

    row_id: str
    source: str
    text: str | None
    decision: str
    score: float | None
    threshold: float | None
    detail: str | None
    start: int | None
    end: int | None


class Cleaned(NamedTuple):
    """examples: rule → a few of each source. balance: source → task → label → rows in (rows, clean, train).parquet."""

    examples: Mapping[str, Sequence[Example]]
    balance: Mapping[str, Mapping[str, Mapping[str, tuple[int, int, int]]]]


def read(clean: Mapping[str, Any]) -> Cleaned:
    """Read the ledger and the rows that lie below the current folder; whole texts leave the columns only if shown.

    clean: that section of params.yaml. Texts stand as the rule saw them. Where personal_data is on they are masked as
    it masks them, those too that another rule dropped; where it needs a recogniser, which is not asked here, they are
    not shown.
    """
    return Cleaned(_examples(Clean.model_validate_json(json.dumps(clean))), _balance())


def _examples(clean: Clean) -> dict[str, list[Example]]:
    """Of each rule's rows, by source, those farthest beyond the threshold, then by row id: fixed by the data."""
    entries = _chosen(_found())
    shown = _Shown(clean, sorted({entry["position"] for entry in entries}))
    found: dict[str, list[Example]] = {}
    for entry in sorted(entries, key=lambda entry: ORDER.index(entry["rule"])):
        text, start, end = shown.of(entry)
        facts = {name: entry[name] for name in ("row_id", "source", "decision", "score", "threshold")}
        detail = None if entry["rule"] == chain.REVIEW else entry["detail"]  # names who decided
        found.setdefault(entry["rule"], []).append(Example(text=text, start=start, end=end, detail=detail, **facts))
    return found


def _found() -> pa.Table:
    """What rules found, in the ledger's columns and `position`: what decided, and of rows that are left all else."""
    finding = ["rule", "score", "threshold", "detail", "start", "end"]
    table = io.read_table(paths.ledger("clean"), ledger.SCHEMA, ["row_id", "source", "decision", *finding, "also"])
    table = table.append_column("position", pa.array(np.arange(len(table)))).combine_chunks()
    decided = table.filter(pc.is_valid(table["rule"])).drop_columns(["also"])
    left = table.filter(pc.not_equal(table["decision"], "dropped")).combine_chunks()
    of_row = pc.list_parent_indices(left["also"])
    more = pc.list_flatten(left["also"]).combine_chunks()
    action = more.field("action").to_pylist()
    columns = {name: left[name].take(of_row) for name in ("row_id", "source", "position")}
    columns |= {name: more.field(name) for name in finding}
    columns["decision"] = pa.array([ALSO[one] for one in action], type=pa.string())
    return pa.concat_tables([decided, pa.table(columns).select(decided.column_names)])


def _chosen(found: pa.Table) -> list[dict[str, Any]]:
    """The first EXAMPLES of each rule and source."""
    far = pc.fill_null(pc.abs(pc.subtract(found["score"], found["threshold"])), 0.0)
    by = [("rule", "ascending"), ("source", "ascending"), ("far", "descending"), ("row_id", "ascending")]
    ordered = found.append_column("far", far).sort_by([*by, ("position", "ascending")])
    if not len(ordered):
        return []
    rule, source = (
        ordered[name].combine_chunks().dictionary_encode().indices.to_numpy() for name in ("rule", "source")
    )
    place = np.arange(len(ordered))
    begins = np.flatnonzero(np.r_[True, (rule[1:] != rule[:-1]) | (source[1:] != source[:-1])])
    rank = place - begins[np.searchsorted(begins, place, side="right") - 1]
    return list(ordered.filter(pa.array(rank < EXAMPLES)).to_pylist())


class _Shown:
    """The texts at some positions of data/rows.parquet as rules saw them, without personal data.

    Nothing keeps what a text was when a rule saw it, so the two rules that change texts are asked again.
    """

    def __init__(self, clean: Clean, positions: Sequence[int]) -> None:
        table = _rows(positions)
        context = Context(0, clean.features, None)
        damage = Findings()
        if clean.hygiene is not None:
            damage = hygiene.find(table, clean.hygiene.model_copy(update={"action": "fix"}), context)
        personal = Findings()
        rule = clean.personal_data
        if rule is not None and rule.recogniser is None:
            mended = _mended(table, damage)
            personal = personal_data.find(mended, rule.model_copy(update={"action": "fix"}), context)
        self._raw = dict(zip(positions, table["text"].to_pylist(), strict=True))
        self._hidden = rule is not None and rule.recogniser is not None
        self._mends = dict(zip(positions, _mends(damage, len(positions)), strict=True))
        self._masks = dict(zip(positions, _mends(personal, len(positions)), strict=True))
        self._laid_open = hygiene.laid_open if rule is not None else str
        self._mending = clean.hygiene is not None and clean.hygiene.action == "fix"

    def of(self, entry: Mapping[str, Any]) -> tuple[str | None, int | None, int | None]:
        """A finding's text, with the part that it marks; without a part where the mask hides what it was."""
        raw = self._raw[entry["position"]]
        if raw is None or self._hidden:
            return None, None, None
        mend, mask = self._mends[entry["position"]], self._masks[entry["position"]]
        rule = ORDER.index(entry["rule"])
        seen = mend(raw) if self._mending and rule > ORDER.index("hygiene") else raw
        start, end = entry["start"] or 0, entry["end"] or 0
        before, part, after = mask(seen[:start]), mask(seen[start:end]), mask(seen[end:])
        text = before + part + after
        opened = self._laid_open
        if text != mask(seen) or mend(text) != mask(mend(raw)) or opened(text) != mask(opened(seen)):
            last = mask(mend(raw))  # damage may hide personal data from the mask
            return (last if opened(last) == mask(opened(mend(raw))) else None), None, None
        return text, (len(before) if part else None), (len(before) + len(part) if part else None)


def _mends(findings: Findings, count: int) -> Iterator[Mend]:
    for position in range(count):
        finding = findings.by_position.get(position)
        yield finding.mend if finding and finding.mend else str


def _rows(positions: Sequence[int]) -> pa.Table:
    """What the two rules look at, as it came, of some rows (ascending). Of tagged words only the text is shown."""
    columns = [*TEXTS, "task", "choices", "options", "messages"]
    parts, start = [], 0
    for batch in io.open_parquet(paths.ROWS, rows.SCHEMA).iter_batches(io.ROW_GROUP, columns=columns):
        here = [position - start for position in positions if start <= position < start + len(batch)]
        parts.append(pa.Table.from_batches([batch]).take(pa.array(here, type=pa.int64())))
        start += len(batch)
    table = pa.concat_tables(parts)
    return table.append_column("tokens", pa.nulls(len(table), rows.SCHEMA.field("tokens").type))


def _mended(table: pa.Table, damage: Findings) -> pa.Table:
    """With the texts mended, and `beside` all that is known of a row: what is masked in it is masked in its text."""
    found = table.to_pylist()
    for row, mend in zip(found, _mends(damage, len(found)), strict=True):
        contents = [message["content"] for message in row["messages"]]
        row[chain.BESIDE] = "\n".join([row["text"] or "", hygiene.laid_open(row["text"] or ""), *contents])
        row |= {name: mend(row[name]) for name in TEXTS if row[name] is not None}
    schema = table.schema.append(pa.field(chain.BESIDE, pa.string()))
    return pa.Table.from_pylist(found, schema=schema)


def _balance() -> dict[str, dict[str, dict[str, tuple[int, int, int]]]]:
    counted = [_labels(path) for path in (paths.ROWS, paths.CLEAN, paths.TRAIN)]
    found: dict[str, dict[str, dict[str, tuple[int, int, int]]]] = {}
    for source, task, label in sorted({place for counts in counted for place in counts}):
        first, second, third = (counts.get((source, task, label), 0) for counts in counted)
        found.setdefault(source, {}).setdefault(task, {})[label] = (first, second, third)
    return found


def _labels(path: Path) -> dict[tuple[str, str, str], int]:
    """(source, task, label) → rows, of rows that have a label."""
    by = ["source", "task", "label"]
    counted = io.read_table(path, rows.SCHEMA, by).group_by(by).aggregate([([], "count_all")]).to_pylist()
    return {tuple(row[name] for name in by): row["count_all"] for row in counted if row["label"] is not None}
