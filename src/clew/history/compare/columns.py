"""Many revisions in the terminal: a column each, as many as the width has room for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clew.history.compare import words as told
from clew.history.compare.model import BETTER, WORSE, Number, Side, Verdict, View
from clew.history.compare.terminal import MOST, STYLES, Writer


def show(view: View, write: Writer) -> None:
    """Print the view."""
    fits = max(1, min(len(view.sides), (write.width - 42) // 14))
    shown = view.sides[:fits]
    write.line(f"baseline: {told.revision(view.before)}", "bold")
    for note in view.notes:
        write.line(f"! {note}", "yellow", 2)
    for side in shown:
        write.line(told.revision(side.after), indent=2)
        for note in side.notes:
            write.line(f"! {note}", "yellow", 4)
    names = [side.after.name[-12:] for side in shown]
    write.head("Asked")
    params = {p.name: p for side in view.sides for p in side.params}
    rows = [(f"  {name}", *_values(name, view, shown)) for name in list(params)[: 2 * MOST]]
    write.table(("", view.before.name[-12:], *names), rows) if rows else write.line("the same params", indent=2)
    if len(params) > 2 * MOST:
        write.line(f"… and {len(params) - 2 * MOST} more params", "dim", 2)
    write.head("Went in, and code")
    for side in shown:
        said = [*told.data(side.data)[:2], *side.data.missing[:1]]
        said += [f"code: {told.listed([file.path for file in side.code], 3)}"] if side.code else []
        write.line(f"{side.after.name}: {'; '.join(said) or 'the same'}", indent=2)
    write.head("Came out")
    _came_out(view, shown, names, write)
    if fits < len(view.sides):
        rest = ", ".join(side.after.name for side in view.sides[fits:])
        write.line(f"left out, for the width of this terminal: {rest} (--json, --md or --html has all)", "dim")
    write.line("Why: compare two of them, or see --json or --html.", "dim")


def _values(name: str, view: View, shown: Sequence[Side]) -> list[str]:
    """A param of every revision: the baseline's value, and "·" where another has the same."""
    known = view.before.params
    first = told.value(known[name]) if name in known else "–"
    others = [{p.name: told.sides(p)[1] for p in side.params}.get(name, "·") for side in shown]
    return [_short(text) for text in (first, *others)]


def _short(text: str, most: int = 13) -> str:
    """A value cut to a column's width."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _came_out(view: View, shown: Sequence[Side], names: Sequence[str], write: Writer) -> None:
    by_side = [{(n.variant, n.name): n for n in side.numbers} for side in view.sides]
    kept = _kept(view)
    rows: list[Sequence[Any]] = []
    for key in kept[: 3 * MOST]:
        known = [side.get(key) for side in by_side]
        first = next((told.shown(n, "before") for n in known if n), "–")
        rows.append((f"  {' '.join(key)}", first, *(_after(number) for number in known[: len(shown)])))
    if not rows:
        write.line("the same numbers", indent=2)
        return
    totals = [(f"▲{_count(side, BETTER)} ▼{_count(side, WORSE)}", "bold") for side in shown]
    write.table(("", view.before.name[-12:], *names), [*rows, ("  better, worse in all", "", *totals)])
    if len(kept) > 3 * MOST:
        write.line(f"… and {len(kept) - 3 * MOST} more numbers (--json or --html has all)", "dim", 2)
    reasons = (reason.partition(":")[0] for side in shown for reason in told.reasons(side))
    for reason in dict.fromkeys(reason for reason in reasons if reason not in ("not tested", "no value before")):
        write.line(f"? {reason}", "dim", 2)


def _kept(view: View) -> list[tuple[str, str]]:
    """(variant, name) of each task's primary number and of those better or worse, if they differ in any revision."""
    numbers = [number for side in view.sides for number in side.numbers if number.kind in ("quality", "fairness")]
    speaks = set(told.primary(numbers).values())
    moved = {(n.variant, n.name) for n in numbers if n.change}
    shown = {(n.variant, n.name) for n in numbers if n.verdict in (BETTER, WORSE)}
    keys = dict.fromkeys((n.variant, n.name) for n in numbers)
    return [key for key in keys if key in shown or (key in moved and key[1] in speaks)]


def _count(side: Side, verdict: Verdict) -> int:
    return sum(number.verdict == verdict and number.kind != "size" for number in side.numbers)


def _after(number: Number | None) -> tuple[str, str]:
    if number is None:
        return "–", "dim"
    return f"{told.shown(number, 'after')} {told.MARKS[number.verdict]}", STYLES[number.verdict]
