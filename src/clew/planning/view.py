"""The plan in a terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from clew import layout
from clew.planning.plan import Plan, Training, size
from clew.planning.stages import Planned, Reason
from clew.terminal import clean

FATES = {"runs": "runs", "kept": "is kept", "restored": "comes from DVC's cache"}
SHOWN = 8
"""Reasons of a stage that are told in a terminal."""
WIDEST = 60
"""Signs of a param's value."""


def lines(plan: Plan) -> Iterator[str]:
    """What a terminal is told."""
    yield from _stages(plan.stages)
    for one in plan.training:
        yield ""
        yield layout.styled(f"{one.name}, on {_machine(plan)}", "bold")
        yield from _table([(name, value) for name, value in _facts(one)])
    if plan.disk.outs or plan.disk.unknown:
        yield ""
        yield from _disk(plan)
    for note in plan.notes:
        yield f"note: {clean(note)}"
    for problem in plan.problems:
        yield layout.styled(f"does not fit: {clean(problem)}", "bold red")


def _stages(planned: tuple[Planned, ...]) -> Iterator[str]:
    running = [one for one in planned if one.fate == "runs"]
    back = [one for one in planned if one.fate == "restored"]
    if not running and not back:
        yield "nothing would run: dvc.lock is of what lies here"
        return
    wide = max(len(one.name) for one in [*running, *back])
    for one in [*running, *back]:
        told = [_reason(reason) for reason in one.reasons]
        if len(told) > SHOWN:
            told = [*told[: SHOWN - 1], f"and {len(told) - SHOWN + 1} more (--json has all)"]
        fate = FATES[one.fate]
        for number, text in enumerate(told):
            yield f"{one.name if number == 0 else '':{wide}}  {fate if number == 0 else '':{len(fate)}}  {text}"
    kept = len(planned) - len(running) - len(back)
    if kept:
        yield f"{kept} other stage{'s are' if kept > 1 else ' is'} kept as {'they are' if kept > 1 else 'it is'}"


def _reason(reason: Reason) -> str:
    what = clean(reason.what)
    if reason.kind == "never run":
        return "has never run here: dvc.lock does not have it"
    if reason.kind == "command":
        return f"another command: {_value(reason.before)} → {_value(reason.after)}"
    if reason.kind == "param":
        return f"{what}: {_value(reason.before)} → {_value(reason.after)}"
    if reason.kind == "upstream":
        return f"because {what} before it runs"
    if reason.kind == "always":
        return "always runs, by dvc.yaml"
    if reason.after in ("missing", "new", "not in DVC's cache"):
        return f"{what} is {reason.after}"
    return f"{what} was changed" if reason.kind != "out" else f"{what} is not as it was made"


def _value(value: Any) -> str:
    return layout.cut(clean(value if isinstance(value, str) else _json(value)), WIDEST)


def _json(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


def _machine(plan: Plan) -> str:
    return f"{plan.machine.name} ({size(plan.machine.memory)} of memory)"


def _facts(one: Training) -> Iterator[tuple[str, str]]:
    work = one.work
    many = "rows" if one.name == "sft" else "pairs"
    about = f"{work.about} " if work.about else ""
    if work.rows is not None and work.tokens is not None:
        yield many, f"{about}{work.rows:,}, each fed {_times(one.settings.epochs)}"
        yield "tokens", f"{about}{work.tokens:,}, {work.labelled or 0:,} of them trained"
        yield "steps", f"{about}{work.steps:,} of {one.settings.batch} {many}, {one.settings.micro} at a time"
    yield "from", ("" if work.exact else "an estimate: ") + work.source
    share = one.settings.trained / one.model.parameters
    yield (
        "trained",
        f"{one.settings.trained:,} of {one.model.parameters:,} parameters ({share:.2%}), {one.settings.method}",
    )
    yield "peak memory", f"about {size(one.memory.peak)}, in {one.precision}"
    for name, part in sorted(one.memory.parts.items(), key=lambda entry: -entry[1]):
        if part >= one.memory.peak / 100:
            yield "", f"{size(part):>7}  {name}"
    batch = one.memory.batch
    yield "", f"decided by a batch of {batch.rows} × {batch.tokens} tokens"
    if one.time.seconds is None:
        yield "time", f"not known: {one.time.source}"
    else:
        yield "time", f"about {duration(one.time.seconds)}, an estimate from {one.time.source}"
    for note in one.notes:
        yield "note", note


def _times(epochs: float) -> str:
    return "once" if epochs == 1 else f"{epochs:g} times"


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(47.2), duration(231), duration(7500)
    ('47 s', '4 min', '2 h 5 min')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _table(facts: list[tuple[str, str]]) -> Iterator[str]:
    wide = max(len(name) for name, _ in facts)
    for name, value in facts:
        yield f"  {name:{wide}}  {clean(value) if name else value}"


def _disk(plan: Plan) -> Iterator[str]:
    disk = plan.disk
    said = f"disk: about {size(disk.needed)} of {size(disk.free)} free, the outs in the work tree and in DVC's cache"
    yield said + (f" and {size(disk.checkpoints)} of checkpoints in between" if disk.checkpoints else "")
    for path, count in sorted(disk.outs.items(), key=lambda entry: -entry[1])[:SHOWN]:
        if count >= 1e6:
            yield f"  {size(count):>7}  {clean(path)}"
    if disk.unknown:
        yield f"  not known, as they never ran: {', '.join(disk.unknown)}"


def as_json(plan: Plan) -> dict[str, Any]:
    """Everything, for programs; sizes in bytes, times in seconds."""
    return {
        "stages": [
            {"name": one.name, "fate": one.fate, "reasons": [reason._asdict() for reason in one.reasons]}
            for one in plan.stages
        ],
        "machine": plan.machine._asdict(),
        "training": {one.name: _training(one) for one in plan.training},
        "disk": {
            "outs": plan.disk.outs,
            "checkpoints": plan.disk.checkpoints,
            "needed": plan.disk.needed,
            "free": plan.disk.free,
            "not_known": plan.disk.unknown,
        },
        "notes": plan.notes,
        "fits": not plan.problems,
        "problems": plan.problems,
    }


def _training(one: Training) -> dict[str, Any]:
    work = one.work
    return {
        "rows": work.rows,
        "tokens": work.tokens,
        "tokens_trained": work.labelled,
        "steps": work.steps,
        "exact": work.exact,
        "source": work.source,
        "parameters": {
            "all": one.model.parameters,
            "trained": one.settings.trained,
            "share": one.settings.trained / one.model.parameters,
        },
        "precision": one.precision,
        "memory": {"peak": one.memory.peak, "parts": one.memory.parts, "batch": one.memory.batch._asdict()},
        "seconds": one.time.seconds,
        "seconds_from": one.time.source,
        "notes": one.notes,
    }
