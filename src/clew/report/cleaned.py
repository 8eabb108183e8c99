"""What the page shows of cleaning: a few rows that each rule found, and the labels before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from clew import identifiers, io, ledger, paths, rows

EXAMPLES = 3


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
    """examples: rule → a few. balance: task → label → rows in (data/rows, data/clean, data/train)."""

    examples: Mapping[str, Sequence[Example]]
    balance: Mapping[str, Mapping[str, tuple[int, int, int]]]


def read(personal_data: Mapping[str, Any] | None) -> Cleaned:
    """Read the ledger and the rows that lie below the current folder; whole texts leave the columns only if shown.

    personal_data: params.yaml's clean.personal_data. Where it is on, texts are masked as it says, those too that a rule
    before it dropped; where it needs a recogniser, which is not asked here, they are not shown.
    """
    return Cleaned(_examples(personal_data), _balance())


def _examples(personal_data: Mapping[str, Any] | None) -> dict[str, list[Example]]:
    """Of each rule's rows those farthest beyond the threshold, then by row id: fixed by the data."""
    columns = ["row_id", "source", "decision", "rule", "score", "threshold", "detail", "start", "end"]
    table = io.read_table(paths.ledger("clean"), ledger.SCHEMA, columns)
    found: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for position, entry in enumerate(table.to_pylist()):
        if entry["rule"]:
            found.setdefault(entry["rule"], []).append((position, entry))
    chosen = {rule: sorted(some, key=_surest)[:EXAMPLES] for rule, some in sorted(found.items())}
    texts = _texts([position for some in chosen.values() for position, _ in some])
    return {
        rule: [_example(entry, texts[position], personal_data) for position, entry in some]
        for rule, some in chosen.items()
    }


def _surest(one: tuple[int, Mapping[str, Any]]) -> tuple[float, str]:
    score, threshold = one[1]["score"], one[1]["threshold"]
    far = 0.0 if score is None or threshold is None else abs(score - threshold)
    return -far, one[1]["row_id"]


def _example(entry: Mapping[str, Any], text: str | None, personal_data: Mapping[str, Any] | None) -> Example:
    shown = _masked(text, personal_data)
    start, end = (entry["start"], entry["end"]) if shown == text else (None, None)
    facts = {name: entry[name] for name in ("row_id", "source", "decision", "score", "threshold", "detail")}
    return Example(text=shown, start=start, end=end, **facts)


def _masked(text: str | None, personal_data: Mapping[str, Any] | None) -> str | None:
    if text is None or personal_data is None:
        return text
    if personal_data["recogniser"] is not None:
        return None
    kinds = [kind for kind in identifiers.KINDS if kind in personal_data["entities"]]
    spans = identifiers.spans(text, kinds, personal_data["region"])
    for span in reversed(identifiers.settled(spans, personal_data["threshold"])):
        text = f"{text[: span.start]}<{span.kind}>{text[span.end :]}"
    return text


def _texts(positions: Sequence[int]) -> dict[int, str | None]:
    """The texts at some positions of data/rows.parquet, as they came."""
    column = io.read_table(paths.ROWS, rows.SCHEMA, ["text"])["text"]
    return dict(zip(positions, column.take(positions).to_pylist(), strict=True)) if positions else {}


def _balance() -> dict[str, dict[str, tuple[int, int, int]]]:
    counted = [_labels(path) for path in (paths.ROWS, paths.CLEAN, paths.TRAIN)]
    found: dict[str, dict[str, tuple[int, int, int]]] = {}
    for task, label in sorted({pair for counts in counted for pair in counts}):
        first, second, third = (counts.get((task, label), 0) for counts in counted)
        found.setdefault(task, {})[label] = (first, second, third)
    return found


def _labels(path: Any) -> dict[tuple[str, str], int]:
    """(task, label) → rows, of rows that have a label."""
    table = io.read_table(path, rows.SCHEMA, ["task", "label"])
    counted = table.group_by(["task", "label"]).aggregate([([], "count_all")]).to_pylist()
    return {(row["task"], row["label"]): row["count_all"] for row in counted if row["label"] is not None}
