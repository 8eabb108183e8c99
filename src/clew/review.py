"""The review loop: rows that wait for a person go out as JSON lines, and the person's decisions come in.

export → {"row_id": "5f0c…", "text": "…", "label": "yes", "choices": […], "rule": "label_noise", "decision": ""}
the person writes "decision": "keep", "drop" or "label" (and then the new label into "label")
admit  → data/review/decisions/NAME.jsonl, which the next run of `clean` reads
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from clew import answers, io, paths
from clew.cleaning import review
from clew.errors import DataError

SHOWN = ("row_id", "source", "task", "text", "completion", "label", "choices", "rejected")
WHY = ("rule", "score", "threshold", "detail")


class Admitted(NamedTuple):
    """What came in. undecided: lines without a decision."""

    path: Path
    decided: int
    undecided: int


def waiting() -> list[dict[str, Any]]:
    """The rows that the last run of `clean` put into the queue, in its order."""
    from clew.stages.clean import QUEUE

    return io.read_parquet(paths.REVIEW_QUEUE, QUEUE)


def asking(row: Mapping[str, Any]) -> list[str]:
    """The rules that ask about a row of the queue."""
    return [row["rule"], *(one["rule"] for one in row["also"])]


def lines(queue: list[dict[str, Any]]) -> Iterator[str]:
    """A line of JSON for each row of the queue, to be edited."""
    for row in queue:
        also = [{name: one[name] for name in WHY} for one in row["also"]]
        told = {name: row[name] for name in (*SHOWN, *WHY)}
        told |= {"also": also} if also else {}
        told |= {"copy": row["copy"]} if row["copy"] else {}
        yield json.dumps(told | {"decision": "", "by": "", "on": ""}, ensure_ascii=False)


def admit(file: Path, by: str, on: str) -> Admitted:
    """Append the decisions of an edited export to data/review/decisions/; raises DataError with file and line.

    by, on: who decided and when, for lines that do not say. Every line is checked before anything is written.
    """
    asked = {(row["row_id"], copy): row for row in waiting() for copy in (None, row["copy"])}
    seen: dict[str, list[tuple[dict[str, Any], int]]] = {}
    decided, undecided = [], 0
    for number, line in enumerate(review.text(file).split("\n"), 1):
        if not line.strip():
            continue
        if _is_undecided(line):
            undecided += 1
            continue
        row_id, decision = review.parse(line, f"{file}:{number}")
        row = _asked(asked.get((row_id, decision.copy)), decision, f"{file}:{number}")
        label = row["label"] if decision.kind == "keep" and row["choices"] else decision.label
        if decision.kind == "label" and label is not None:
            label = answers.as_label(label, row["choices"], several=row["labels"] is not None)
        told = {"row_id": row_id, "decision": decision.kind, "label": label}
        told |= {"copy": decision.copy} if decision.copy else {}
        of_row = seen.setdefault(row_id, [])
        for one, line_of_one in of_row:
            if _differ(one, told):
                raise DataError(
                    f"the decision is `{decision.kind}`, and line {line_of_one} decides otherwise about the same row",
                    where=f"{file}:{number}",
                    fix="Leave one of them: a decision holds for all rows of its id, or for the `copy` that it names.",
                )
        if told not in [one for one, _ in of_row]:
            decided.append(told | {"by": decision.by or by, "on": decision.on or on})
        of_row.append((told, number))
    path = paths.REVIEW_DECISIONS / f"{file.stem}.jsonl"
    if decided:
        before = review.text(path) if path.exists() else ""
        before += "\n" if before and not before.endswith("\n") else ""
        with io.replace_file(path) as aside:
            made = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in decided)
            aside.write_text(before + made, encoding="utf-8")
    return Admitted(path, len(decided), undecided)


def _differ(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two decisions about rows of one id cannot both hold. A new label is of all that are not dropped."""
    if (one["decision"], one["label"]) == (other["decision"], other["label"]):
        return False
    copies, kinds = (one.get("copy"), other.get("copy")), (one["decision"], other["decision"])
    return copies[0] == copies[1] or None in copies or ("label" in kinds and "drop" not in kinds)


def _is_undecided(line: str) -> bool:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.get("decision") in ("", None)


def _asked(row: Mapping[str, Any] | None, decision: review.Decision, where: str) -> Mapping[str, Any]:
    """The row of the queue that a decision is about; raises DataError where it cannot be that."""
    if row is None:
        raise DataError(
            "the row does not wait for a decision",
            where=where,
            fix="Decide about rows of the queue (`clew review export`), or write data/review/decisions/ yourself.",
        )
    if decision.kind == "label" and decision.label == row["label"]:
        raise DataError(
            f"the decision is `label`, and the label is still `{row['label']}`",
            where=where,
            fix=f"Write the new label into `label` ({', '.join(row['choices'] or ())}), or decide `keep`.",
        )
    if decision.kind == "keep" and decision.label not in (None, row["label"]):
        raise DataError(
            f"the decision is `keep`, and the label `{row['label']}` became `{decision.label}`",
            where=where,
            fix="Write `label` for another label, or leave the label as it was.",
        )
    several = row["labels"] is not None
    if decision.kind == "label" and not answers.as_label(str(decision.label), row["choices"] or (), several=several):
        form = f"; several are parted by commas, and none of them is `{answers.NO_LABEL}`" if several else ""
        raise DataError(
            f"`{decision.label}` is none of the row's choices",
            where=where,
            fix=f"Its choices are: {', '.join(row['choices'] or ()) or 'none; it is free text'}{form}.",
        )
    return row
