"""The view's own words, that every way of writing it shares. Numbers and metrics are worded by `report.words`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from clew.history.compare.model import BETTER, SAME, WORSE, Change, CodeFile, Cost, Number, Reach, Side, Verdict, View
from clew.history.snapshot import Snapshot
from clew.lineage.data_changes import Count, DataChanges, SetChange, Source, SourceChange
from clew.report import words

MARKS: dict[Verdict | None, str] = {BETTER: "▲", WORSE: "▼", SAME: "=", None: "?"}
PRIMARY = ("accuracy", "chrf", "bleu", "f1")
"""The metric that speaks for a task: the first of these that it has (as in the report)."""


def revision(side: Snapshot) -> str:
    """A revision by name, commit and title."""
    if side.commit is None:
        return f"{side.name} (the files as they lie here)"
    return f"{side.name} ({side.commit.id[:7]}, {side.commit.title})"


def value(found: Any) -> str:
    """A param as params.yaml has it; "–" for none.

    >>> value([1, "a"]), value(True), value(None), value(0.0006)
    ('[1, a]', 'true', 'null', '0.0006')
    """
    if isinstance(found, (list, tuple)):
        return f"[{', '.join(map(value, found))}]"
    if found is None or isinstance(found, bool):
        return {None: "null", True: "true", False: "false"}[found]
    return f"{found:g}" if isinstance(found, float) else " ".join(str(found).split())


def sides(change: Any) -> tuple[str, str]:
    """The two values of a param that differs; "–" on a side that has none."""
    before = "–" if change.on == "after" else value(change.before)
    return before, "–" if change.on == "before" else value(change.after)


def data(found: DataChanges) -> list[str]:
    """What went in, a line for each thing that differs."""
    lines = [_source("source", change) for change in found.sources]
    lines += [_source("base model", found.base)] if found.base else []
    for name, change in (("training", found.train), ("test", found.test)):
        if change is not None:
            lines.append(_set(name, change))
    for decision in found.decisions:
        told = [
            (decision.newly_dropped, "newly dropped"),
            (decision.no_longer_dropped, "no longer dropped"),
            (decision.newly_changed, "newly changed"),
            (decision.no_longer_changed, "no longer changed"),
            (decision.otherwise_changed, "changed otherwise"),
        ]
        parts = [f"{words.number(n, 'count')} {what}" for n, what in told if n]
        totals = [("dropped", decision.dropped), ("changed", decision.changed)]
        parts += [f"{what} {pair[0]} → {pair[1]} in all" for what, pair in totals if pair[0] != pair[1]]
        if parts:
            lines.append(f"{decision.stage}, rule {decision.rule}: {', '.join(parts)}")
    lines += [f"{words.plural(n, 'row')} moved {where}" for where, n in found.moved.items()]
    return lines


def _source(kind: str, change: SourceChange) -> str:
    if change.before is None or change.after is None:
        which, only = ("added", change.after) if change.before is None else ("removed", change.before)
        return f"{kind} {change.name} {which}: {only.uri if only else '?'}"
    if change.before.uri != change.after.uri:
        return f"{kind} {change.name}: {change.before.uri} → {change.after.uri}"
    parts = [f"other content ({change_of})"] if (change_of := _content(change.before, change.after)) else []
    licences = change.before.license, change.after.license
    parts += [f"licence {licences[0] or '–'} → {licences[1] or '–'}"] if licences[0] != licences[1] else []
    return f"{kind} {change.name}: {', '.join(parts)}"


def _content(before: Source, after: Source) -> str:
    """The digests that differ; of both kinds those that params.yaml declares."""
    kinds = {"SHA-256": (before.sha256, after.sha256), "MD5": (before.made, after.made)}
    differing = (f"{kind} {_digest(was)} → {_digest(now)}" for kind, (was, now) in kinds.items() if was != now)
    return next(differing, "")


def _digest(digest: str | None) -> str:
    return digest[:12] if digest else "–"


def _set(name: str, change: SetChange) -> str:
    told = [
        (change.added.n, change.added.by, "added"),
        (change.removed.n, change.removed.by, "removed"),
        (change.relabelled.n, change.relabelled.by, "relabelled"),
        (change.edited.n, change.edited.by, "edited"),
        (change.reweighted.n, change.reweighted.by, "with another weight"),
    ]
    parts = [f"{words.number(n, 'count')} {what}{_of(by)}" for n, by, what in told if n]
    return f"{name} rows {change.before} → {change.after}: {', '.join(parts) or 'the same rows in another order'}"


def _of(counts: Sequence[Count]) -> str:
    if not counts:
        return ""
    named = [f"{count.task} {count.n}" for count in counts[:3]]
    return f" ({', '.join(named)}{' …' if len(counts) > 3 else ''})"


def file(found: CodeFile) -> str:
    """What befell a source file: `changed`, and whether the stages have run with it."""
    rest = [] if found.run else ["edited, not run yet"]
    rest += (
        [] if found.committed else ["in no commit" if "." in found.path else "by files in no commit, or ignored ones"]
    )
    return ", ".join([found.change, *rest])


def titles(found: CodeFile, most: int = 3) -> list[str]:
    """The commits that touched a file, newest first, and how many more there are."""
    shown = [f"{t.commit[:7]} {t.title}{'' if t.side == 'after' else ' (before only)'}" for t in found.commits[:most]]
    return shown + ([f"and {len(found.commits) - most} more"] if len(found.commits) > most else [])


def stages(names: Iterable[str]) -> list[str]:
    """Stage names, the instances of a fan-out together, where the last of them stands.

    >>> stages(["predict@sft", "align", "predict@int8", "evaluate"])
    ['align', 'predict@{sft, int8}', 'evaluate']
    """
    together: dict[str, list[str]] = {}
    for name in names:
        stage, _, item = name.partition("@")
        together[stage] = [*together.pop(stage, []), item]
    return [
        f"{stage}@{{{', '.join(items)}}}" if len(items) > 1 else f"{stage}@{items[0]}" if items[0] else stage
        for stage, items in together.items()
    ]


def chain(found: Reach) -> str:
    """A change's way through the pipeline; what a stage made otherwise starts at the stage itself."""
    roots = [] if found.kind == "unexplained" else [listed(found.roots, 4)]
    return " → ".join([*roots, *stages(found.stages)])


def end(found: Reach) -> str:
    """What a change reaches at the end of its way."""
    if not found.stages:
        return "no stage of dvc.lock reads it"
    told = "will reach" if found.not_run else "reaches"
    if found.variants:
        every = f"{told} every metric of {', '.join(found.variants)}"
        every += f"; none of {', '.join(found.spared)}" if found.spared else ""
    else:
        every = f"{told} {', '.join(found.files)}" if found.files else f"{told} no number"
    if found.ends_at:
        every += f" ({', '.join(stages(found.ends_at))} made the same bytes all the same)"
    return every + (" once the pipeline has run with it" if found.not_run else "")


KINDS: dict[Change, str] = {
    "param": "asked",
    "code": "code",
    "data": "data",
    "pipeline": "pipeline",
    "unexplained": "made otherwise of the same inputs",
}


def listed(items: Sequence[str], most: int) -> str:
    """The first few of a list, and how many more there are."""
    rest = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + rest


def kind(number: Number) -> words.Kind:
    """How a number is written."""
    return "plain" if number.kind in ("fairness", "time") else words.metric(number.metric).kind


def shown(number: Number, which: str) -> str:
    """The value on one side (`before` or `after`)."""
    entry = number.before if which == "before" else number.after
    found = entry.get("value")
    return words.number(found if isinstance(found, (int, float)) else None, kind(number))


def difference(number: Number) -> str:
    """The difference with its interval and p-value, as the test found it; else of the stored values."""
    if number.paired is None:
        return words.difference(number.change, kind(number)) if number.change is not None else ""
    tested = number.paired
    bounds = words.difference_interval({"low": tested.low, "high": tested.high}, kind(number))
    distance = " in distance from even" if number.kind == "fairness" else ""
    said = words.difference(tested.difference, kind(number)) + distance
    return f"{said} ({bounds}; corrected {words.p_value(tested.holm)})" if bounds else said


def stored(number: Number) -> str:
    """Both sides as they are stored, with their own intervals: all that can be said without a paired test."""
    sides = ((shown(number, which), words.interval(e, kind(number))) for which, e in _entries(number))
    return " → ".join(f"{value} ({bounds})" if bounds else value for value, bounds in sides)


def _entries(number: Number) -> tuple[tuple[str, Any], ...]:
    return ("before", number.before), ("after", number.after)


def primary(numbers: Iterable[Number]) -> dict[str, str]:
    """Task → the name of the number that speaks for it."""
    names: dict[str, set[str]] = {}
    for number in numbers:
        if number.kind == "quality":
            names.setdefault(number.name.partition(".")[0], set()).add(number.metric)
    return {
        task: f"{task}.{next((name for name in PRIMARY if name in found), min(found))}" for task, found in names.items()
    }


def counted(view: View) -> str:
    """How the verdicts were made, in a sentence."""
    if not view.tested:
        return "No paired tests were made (--no-tests)."
    if not view.tests:
        return "No paired test could be made or needed to be."
    return (
        f"{words.plural(view.tests, 'paired test')} on the stored predictions of the same rows, "
        f"{words.number(view.resamples, 'count')} resamples; better and worse: p at most {view.alpha:g} after "
        "Holm's correction over all of them."
    )


def overlaps(side: Side) -> list[str]:
    """Where the two test sets differ: how many rows they share."""
    told: dict[str, list[str]] = {}
    for variant, tasks in side.shared.items():
        for task, rows in tasks.items():
            if rows.before or rows.after:
                said = f"{task}: {rows.both} rows in both test sets, {rows.before} only before, {rows.after} only after"
                told.setdefault(said, []).append(variant)
    return [f"{said} ({', '.join(variants)})" for said, variants in told.items()]


def reasons(side: Side) -> list[str]:
    """Why numbers have no verdict: each reason once, with the numbers that it holds for.

    A number that neither side could have is no loss to the comparison, and its reason stands in the report.
    """
    told: dict[str, list[str]] = {}
    for number in side.numbers:
        null = number.before.get("value") is None and number.after.get("value") is None and number.before
        if number.verdict is None and number.reason and not null and number.kind in ("quality", "fairness"):
            told.setdefault(number.reason, []).append(f"{number.name}@{number.variant}")
    return [f"{words.quoted(reason)}: {listed(names, 2)}" for reason, names in told.items()]


def cost(found: Cost) -> tuple[str, str]:
    """Time and peak memory on both sides."""
    return tuple(_cost(side) for side in (found.before, found.after))  # type: ignore[return-value]


def _cost(record: Any) -> str:
    if record is None:
        return "–"
    memory = record.get("peak_memory_bytes")
    return words.duration(record["seconds"]) + (f", {words.size(memory)}" if isinstance(memory, (int, float)) else "")
