"""The view as Markdown for a pull request: what is shown at the top, the rest folded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from clew.history.compare import trained
from clew.history.compare import words as told
from clew.history.compare.model import BETTER, WORSE, Number, Side, View
from clew.report import words

LIMIT = 60_000
"""Characters of a comment: GitHub takes 65,536."""


def write(view: View) -> str:
    """The whole text; without the table of every number where that would be too long for a comment."""
    whole = _write(view, every=True)
    return whole if len(whole) <= LIMIT else _write(view, every=False)


def _write(view: View, *, every: bool) -> str:
    parts = [f"### {code(view.before.name)} → {', '.join(code(side.after.name) for side in view.sides)}"]
    parts += [f"⚠ {plain(view.before.name)}: {plain(note)}" for note in view.notes]
    for side in view.sides:
        parts += _side(view, side, every=every)
    parts.append(f"<sub>{plain(told.counted(view))}</sub>")
    return "\n\n".join(parts)


def _side(view: View, side: Side, *, every: bool) -> list[str]:
    parts = [f"#### {code(told.revision(side.after))}"] if len(view.sides) > 1 else []
    parts += [f"⚠ {plain(note)}" for note in side.notes]
    parts.append(_summary(view, side))
    shown = sorted(_shown(side), key=lambda number: number.verdict == BETTER)
    if shown:
        rows = [(_mark(n), f"{code(n.name)} {plain(n.variant)}", *_values(n), plain(told.difference(n))) for n in shown]
        parts.append(table(("", "number", "before", "after", "difference"), rows))
    if found := trained.changes(side):
        measured = [(*map(code, line[:3]), line[3]) for line in found]
        parts.append("**Training** (not tested)\n\n" + table(("number", "before", "after", ""), measured))
    parts += [f"⚠ {plain(line)}" for line in told.overlaps(side)]
    if side.params:
        asked = [(code(p.name), *map(code, told.sides(p)), _late(p.not_run)) for p in side.params]
        parts.append("**Asked**\n\n" + table(("param", "before", "after", ""), asked))
    lines = [*told.data(side.data), *side.data.missing]
    parts.append("**Went in**\n\n" + listed([plain(line) for line in lines] or ["the same data and base model"]))
    parts.append("**Code**\n\n" + listed(list(_code(side)) or ["the same code"]))
    why = [f"{told.KINDS[r.kind]}: {code(told.chain(r))}: {plain(told.end(r))}" for r in side.reaches]
    parts.append("**Why**\n\n" + listed(why or ["–"]))
    if side.numbers:
        parts += [folded(f"Every number ({len(side.numbers)})", _every(side) if every else "Too many: see `--json`.")]
    if side.others:
        others = [(code(param.name), *map(code, told.sides(param))) for param in side.others]
        parts.append(folded(f"Other numbers ({len(others)})", table(("number", "before", "after"), others)))
    parts += [folded("Time and memory", _costs(side))] if side.costs else []
    return parts


def _shown(side: Side) -> list[Number]:
    return [n for n in side.numbers if n.verdict in (BETTER, WORSE) and n.kind != "size"]


def _summary(view: View, side: Side) -> str:
    if not view.tested:
        return "Not tested, so nothing is called better or worse."
    counts = [f"**{sum(n.verdict == verdict for n in _shown(side))} {verdict}**" for verdict in (BETTER, WORSE)]
    judged = sum(n.verdict is not None and n.kind in ("quality", "fairness") for n in side.numbers)
    unjudged = sum(n.verdict is None and n.kind in ("quality", "fairness") for n in side.numbers)
    rest = f", {unjudged} without a verdict" if unjudged else ""
    return f"{', '.join(counts)}, no difference shown in the other {judged - len(_shown(side))}{rest}."


def _mark(number: Number) -> str:
    return told.MARKS[number.verdict]


def _values(number: Number) -> tuple[str, str]:
    return plain(told.shown(number, "before")), plain(told.shown(number, "after"))


def _late(stages: Sequence[str]) -> str:
    return f"not run yet: {plain(', '.join(told.stages(stages)))}" if stages else ""


def _code(side: Side) -> Iterable[str]:
    for file in side.code:
        said = f"{code(file.path)} {told.file(file)}; read by {plain(', '.join(told.stages(file.stages)))}"
        yield "\n  - ".join([said, *(code(title) for title in told.titles(file, 5))])


def _every(side: Side) -> str:
    rows = [
        (
            f"{code(number.name)} {plain(number.variant)}",
            *(
                f"{plain(told.shown(number, which))} {_interval(number, entry)}"
                for which, entry in (("before", number.before), ("after", number.after))
            ),
            plain(told.difference(number)),
            f"{_mark(number)} {number.verdict or ''} {plain(number.reason)}".strip(),
        )
        for number in side.numbers
    ]
    return table(("number", "before", "after", "difference", "verdict"), rows)


def _interval(number: Number, entry: Any) -> str:
    found = words.interval(entry, told.kind(number)) if number.kind != "size" else ""
    return f"<sub>{plain(found)}</sub>" if found else ""


def _costs(side: Side) -> str:
    return table(("stage", "before", "after"), [(code(c.stage), *map(plain, told.cost(c))) for c in side.costs])


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def listed(lines: Sequence[str]) -> str:
    """A list; lines are Markdown already."""
    return "\n".join(f"- {line}" for line in lines)


def folded(title: str, text: str) -> str:
    """What opens on a click."""
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"


def code(text: str) -> str:
    """Names and titles as code, so that nothing in them is a mention, a link or HTML."""
    one_line = " ".join(text.split()).replace("`", "'").replace("|", "\\|")
    return f"`{one_line}`" if one_line else ""


def plain(text: str) -> str:
    """Text with what Markdown or HTML would take for its own escaped."""
    escaped = "".join(f"\\{sign}" if sign in "\\`*_[]|#~" else sign for sign in " ".join(text.split(" ")))
    return escaped.replace("<", "&lt;").replace(">", "&gt;").replace("@", "@\u200b").replace("\n", " ")
