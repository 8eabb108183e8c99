"""The view as a compact table in the terminal: what fits the width, and a word on what was left out."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from clew import layout
from clew.history import blocks
from clew.history.compare import words as told
from clew.history.compare.costs import machine
from clew.history.compare.model import BETTER, SAME, WORSE, Number, Side, Verdict, View
from clew.history.compare.trained import FULL, changes
from clew.report import words

STYLES: dict[Verdict | None, str] = {BETTER: "bold blue", WORSE: "bold red", SAME: "dim", None: "dim"}
CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), "\ufffd")
"""What a commit's title or a param could steer a terminal with."""
MOST = 12
"""Lines of a list at most."""
PIPED = 120
"""Columns where the output is not a terminal."""
GAP = 2
NARROWEST = 8
"""Columns that a table's column keeps in a narrow terminal."""


def show(view: View) -> None:
    """Print the view."""
    write = Writer(layout.terminal_width(PIPED))
    if len(view.sides) == 1:
        _two(view, view.sides[0], write)
    else:
        from clew.history.compare import columns

        columns.show(view, write)
    write.line(told.counted(view), "dim")
    sys.stdout.flush()  # here, where a full disk or a reader that has left is still told


class Writer:
    """Prints lines and tables, with nothing in them that a terminal would obey."""

    def __init__(self, width: int) -> None:
        self.width = width

    def line(self, text: str, style: str = "", indent: int = 0) -> None:
        """One paragraph, wrapped at the width."""
        for part in layout.wrapped(clean(text), max(1, self.width - indent)):
            print(" " * indent + layout.styled(part, style))

    def head(self, text: str) -> None:
        """A section's title."""
        print()
        self.line(text, "bold")

    def listed(self, lines: Sequence[str], most: int = MOST) -> None:
        """Lines, the first of them where there are many."""
        for line in lines[:most]:
            self.line(line, indent=2)
        if len(lines) > most:
            self.line(f"… and {len(lines) - most} more (--json, --md or --html has all)", "dim", 2)

    def table(self, header: Sequence[str], rows: Iterable[Sequence[Any]], left: int = 1) -> None:
        """A table; the first `left` columns are aligned left and wrapped, cells are texts or (text, style)."""
        head = [("  " * (index == 0) + name, "dim") for index, name in enumerate(header)]
        told = [[cell if isinstance(cell, tuple) else (cell, "") for cell in row] for row in rows]
        cells = [[(clean(text), style) for text, style in row] for row in ([head] if any(header) else []) + told]
        widest = [max(layout.width(text) for text, _ in column) for column in zip(*cells, strict=True)]
        columns = [layout.Column([], wide, at >= left) for at, wide in enumerate(_fitted(widest, left, self.width))]
        for row in cells:
            for line in _lines(row, columns):
                print(line)


def _lines(row: Sequence[tuple[str, str]], columns: Sequence[layout.Column]) -> Iterator[str]:
    """A row of a table: more than one line where a text of a left column is wrapped."""
    parts = [
        [text] if column.right else layout.wrapped(text, column.width)
        for (text, _), column in zip(row, columns, strict=True)
    ]
    for texts in zip_longest(*parts, fillvalue=""):
        padded = [layout.padded(text, column) for text, column in zip(texts, columns, strict=True)]
        styled = [layout.styled(text, style) for text, (_, style) in zip(padded, row, strict=True)]
        yield (" " * GAP).join(styled).rstrip()


def _fitted(widths: Sequence[int], left: int, room: int) -> list[int]:
    """The columns' widths, the widest of the left ones made narrower until all fit, then the widest of the others."""
    found = list(widths)
    for columns in (range(left), range(left, len(found))):
        while columns and sum(found) + GAP * (len(found) - 1) > room:
            widest = max(columns, key=found.__getitem__)
            if found[widest] <= NARROWEST:
                break
            found[widest] -= 1
    return found


def clean(text: str) -> str:
    """Text without control characters, and without what UTF-8 cannot hold."""
    return blocks.whole(text.translate(CONTROLS))


def _two(view: View, side: Side, write: Writer) -> None:
    write.line(f"{told.revision(view.before)}  →  {told.revision(side.after)}", "bold")
    for note in (*(f"{view.before.name}: {note}" for note in view.notes), *side.notes):
        write.line(f"! {note}", "yellow")
    write.head("Asked")
    if not side.params:
        write.line("the same params", indent=2)
    rows = [(f"  {p.name}", " → ".join(told.sides(p)), _late(p.not_run)) for p in side.params]
    write.table(("", "", ""), rows[: 2 * MOST], left=3)
    if len(rows) > 2 * MOST:
        write.line(f"… and {len(rows) - 2 * MOST} more params (--json or --md has all)", "dim", 2)
    write.head("Went in")
    lines = told.data(side.data)
    write.listed(lines or (["the same data and base model"] if not side.data.missing else []))
    for missing in side.data.missing:
        write.line(missing, "dim", 2)
    write.head("Code")
    _code(side, write)
    write.head("Came out")
    _came_out(side.numbers, write)
    _others(side, write)
    _cost(side, write)
    write.head("Why")
    if not side.reaches:
        write.line("no change of params, data, code or pipeline", indent=2)
    reaches = [f"{told.KINDS[reach.kind]}: {told.chain(reach)}: {told.end(reach)}" for reach in side.reaches]
    write.listed(reaches, 2 * MOST)
    print()


def _late(stages: Sequence[str]) -> tuple[str, str]:
    return (f"not run yet: {told.listed(told.stages(stages), 3)}" if stages else "", "yellow")


def _code(side: Side, write: Writer) -> None:
    if not side.code:
        write.line("the same code", indent=2)
    for file in side.code[:MOST]:
        write.line(f"{file.path} {told.file(file)} · {', '.join(told.stages(file.stages))}", indent=2)
        for title in told.titles(file):
            write.line(title, "dim", 4)
    if len(side.code) > MOST:
        write.line(f"… and {len(side.code) - MOST} more files (--json, --md or --html has all)", "dim", 2)


def _came_out(numbers: Sequence[Number], write: Writer) -> None:
    """A line a metric, a column a variant: before → after and the verdict's mark; then what is shown, in words."""
    found = [number for number in numbers if number.kind in ("quality", "fairness")]
    if not found:
        write.line("no quality or fairness numbers on either side", indent=2)
        return
    by_name: dict[str, dict[str, Number]] = {}
    for number in found:
        by_name.setdefault(number.name, {})[number.variant] = number
    variants = list(dict.fromkeys(number.variant for number in found))
    moved = [v for v in variants if any(n.change or not n.verdict for n in found if n.variant == v and not _null(n))]
    kept = [name for name in by_name if name in _kept(found)]
    columns = {variant: [_cell(by_name[name].get(variant)) for name in kept] for variant in moved}
    labels = [f"  {name}{_lower(name)}" for name in kept]
    fits = _fits(labels, columns, write.width)
    if fits:
        write.table(("", *fits), [(label, *(columns[v][row] for v in fits)) for row, label in enumerate(labels)])
    still = [variant for variant in variants if variant not in moved]
    if still:
        write.line(f"the same numbers as before: {', '.join(still)}", indent=2)
    left = [
        f"{words.plural(n, 'more metric')} without a shown difference" for n in [len(by_name) - len(kept)] if n and fits
    ]
    left += [f"variants {', '.join(moved[len(fits) :])}"] if moved[len(fits) :] else []
    if left:
        write.line(f"left out here: {'; '.join(left)} (--json, --md or --html has all)", "dim", 2)
    _shown(found, write)


def _others(side: Side, write: Writer) -> None:
    """Numbers of other files: how many differ, or where there are no others, which."""
    if side.numbers:
        found = [
            (f"  {name}", f"{before} → {after}", f"{way}, not tested") for name, before, after, way in changes(side)
        ]
        if found:
            write.table(("", "", ""), found, left=3)
        files = Counter(param.name.partition(":")[0] for param in side.others if param.name not in FULL)
        if files:
            write.line(f"also differ: {', '.join(f'{file} ({n})' for file, n in files.items())} (--json)", "dim", 2)
        return
    rows = [(f"  {param.name}", " → ".join(told.sides(param))) for param in side.others[: 2 * MOST]]
    write.table(("", ""), rows, left=2)
    if len(side.others) > 2 * MOST:
        write.line(f"… and {len(side.others) - 2 * MOST} more (--json has all)", "dim", 2)


def _null(number: Number) -> bool:
    """Whether neither side has a value."""
    return number.before.get("value") is None and number.after.get("value") is None


def _lower(name: str) -> str:
    return " (lower is better)" if words.metric(name.rpartition(".")[2]).lower_is_better else ""


def _fits(labels: Sequence[str], columns: Mapping[str, Sequence[tuple[str, str]]], width: int) -> list[str]:
    """The first of the columns that the width has room for, one at least."""
    left = width - max(map(len, labels), default=0)
    found: list[str] = []
    for name, cells in columns.items():
        left -= 2 + max(len(name), *(len(text) for text, _ in cells))
        if left >= 0 or not found:
            found.append(name)
    return found


def _kept(numbers: Sequence[Number]) -> list[str]:
    """The names that get a line: each task's primary metric, each audit's parity, and what is better or worse."""
    speaks = set(told.primary(numbers).values())
    return list(
        dict.fromkeys(
            number.name
            for number in numbers
            if number.name in speaks
            or number.metric == "statistical_parity_difference"
            or number.verdict in (BETTER, WORSE)
        )
    )


def _cell(number: Number | None) -> tuple[str, str]:
    if number is None:
        return "–", "dim"
    before, after = told.shown(number, "before"), told.shown(number, "after")
    changed = before if before == after else f"{before.removesuffix(words.NARROW + '%')} → {after}"
    return f"{changed} {told.MARKS[number.verdict]}", STYLES[number.verdict]


def _shown(numbers: Sequence[Number], write: Writer) -> None:
    """The differences that are shown, the surest first; and why some numbers have no verdict."""
    shown = [number for number in numbers if number.verdict in (BETTER, WORSE)]
    shown.sort(key=lambda number: (number.verdict == BETTER, number.paired.holm if number.paired else 0.0))
    for number in shown[:MOST]:
        said = f"{told.MARKS[number.verdict]} {number.name}@{number.variant} {number.verdict}"
        write.line(f"{said}: {told.difference(number)}", indent=2)
    if len(shown) > MOST:
        write.line(f"… and {len(shown) - MOST} more shown differences", "dim", 2)
    unjudged = [n for n in numbers if n.change and n.verdict is None and not n.reason.startswith("not tested")]
    if not shown and not unjudged:
        write.line("no difference is shown", indent=2)
    speaks = set(told.primary(numbers).values())
    stored = [f"? {n.name}@{n.variant}: {told.stored(n)}" for n in unjudged if n.name in speaks]
    write.listed(stored)


def _cost(side: Side, write: Writer) -> None:
    """Sizes that differ, and the longest of the stages that ran anew."""
    for line in told.overlaps(side):
        write.line(f"! {line}", "yellow", 2)
    for reason in told.reasons(side):
        if not reason.startswith("not tested"):
            write.line(f"? {reason}", "dim", 2)
    sizes = [n for n in side.numbers if n.kind == "size" and told.shown(n, "before") != told.shown(n, "after")]
    parts = [f"{n.variant} {told.shown(n, 'before')} → {told.shown(n, 'after')}" for n in sizes]
    if parts:
        write.line(f"size: {told.listed(parts, 6)}", indent=2)
    costs = sorted(side.costs, key=lambda c: -max(r["seconds"] for r in (c.before, c.after) if r))
    parts = [f"{c.stage} {' → '.join(told.cost(c))}" for c in costs if c.before or c.after]
    if parts:
        write.line(f"time and memory: {told.listed(parts, 4)}", indent=2)
    machines = {machine(r) for c in costs for r in (c.before, c.after) if r}
    if len(machines) > 1:
        write.line(f"! timed on different machines: {'; '.join(sorted(machines))}", "yellow", 2)
