"""clew log: the experiments of the history, or one metric's history; clew best: the best of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from clew.errors import HistoryError
    from clew.history.index import Entry, Index
    from clew.history.table import Line

rev_option = click.option(
    "--rev", multiple=True, metavar="REV", help="Only what this revision reaches. May be repeated."
)
where_option = click.option("--where", metavar="CONDITION", help="Only where this holds: `sft.epochs >= 2 and …`.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
T = TypeVar("T")
COLUMNS = 5
NEWEST = 100
CHIEF = ("accuracy", "chrf")


def _number_option(default: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "-n", "--number", type=click.IntRange(min=1), default=default, metavar="N", help="Lines at most."
    )


@click.command
@click.argument("metric", required=False, help="A metric or param, such as stress.f1@sft: its history.")
@rev_option
@where_option
@click.option("--sort", metavar="NAME", help="By this param or metric, best first.")
@click.option("--columns", metavar="NAMES", help="Names, with commas; `*` stands for any.")
@_number_option(30)
@json_option
def log(
    metric: str | None,
    rev: Sequence[str],
    where: str | None,
    sort: str | None,
    columns: str | None,
    number: int,
    as_json: bool,
) -> None:
    """Show the experiments of all branches, tags and experiments: one line a commit that changed a metric or a param.

    \b
    Example: clew log --where "sft.learning_rate < 0.002" --sort stress.f1@sft --columns "sft.*,*.stress.f1"

    Example: clew log stress.accuracy@aligned
    """
    from clew.history import table

    repo = _repository()

    def question(index: Index) -> tuple[list[Line], list[str], list[str], int]:
        entries = table.chosen(index, _starts(repo, rev))
        known = _Known(index, entries)
        wanted = [metric] if metric else columns.split(",") if columns else []
        chosen = [name for typed in wanted for name in known.find(typed.strip())]
        ordered = _fitting(index, entries, where, known)
        if metric:
            ordered = _with_value(index, ordered, chosen[0])
        if sort:
            ordered = _sorted(index, ordered, known.one(sort))
        shown = ordered[:number]
        return table.lines(index, shown), chosen, _problems(index, shown), len(ordered) - len(shown)

    found, chosen, problems, left_out = _ask(repo, question)
    here = table.work_tree(repo) if not rev and where is None and sort is None else None
    shown = [here, *found] if here is not None else found
    _warn(repo, problems)
    _print(shown, chosen or _usual(shown), How(metric is not None, sort is None, left_out), as_json)


@click.command
@click.argument("metric", help="A metric, such as stress.f1@sft.")
@rev_option
@where_option
@_number_option(5)
@json_option
def best(metric: str, rev: Sequence[str], where: str | None, number: int, as_json: bool) -> None:
    """Show the commits with the best value of a metric; ≈ marks those within the best one's interval.

    Example: clew best stress.accuracy@aligned --where "align.enabled = true"
    """
    from clew.history import table

    repo = _repository()

    def question(index: Index) -> tuple[str, list[Line], list[str], int]:
        entries = table.chosen(index, _starts(repo, rev))
        known = _Known(index, entries)
        name = known.one(metric)
        ranked = _sorted(index, _fitting(index, entries, where, known), name)
        return name, table.lines(index, ranked[:number]), _problems(index, entries), len(ranked)

    name, shown, problems, count = _ask(repo, question)
    _warn(repo, problems)
    how = How(intervals=True, in_time=False, left_out=count - len(shown), close=_close(shown, name))
    _print(shown, [name, *_varying(shown)], how, as_json)


def _close(lines: Sequence[Line], name: str) -> list[int]:
    """The places of the lines whose value is within the interval of the first one's, which is the best."""
    from clew.history import table

    stem = name.removesuffix(".value")
    low, high = (lines[0].values.get(f"{stem}.{bound}") if lines else None for bound in ("low", "high"))
    if not table.is_number(low) or not table.is_number(high):
        return []
    return [row for row, line in enumerate(lines) if row and low <= line.values[name] <= high]


@dataclass(frozen=True)
class How:
    """How lines are shown. in_time: newest first. left_out: lines that did not fit. close: see `_close`."""

    intervals: bool
    in_time: bool
    left_out: int
    close: Sequence[int] = ()


def _repository() -> Any:
    from clew.history import repository

    repo = repository.open_repository(Path())
    if repository.head(repo) is None and not repository.heads(repo):
        repository.resolve(repo, "HEAD")  # says that there are no commits
    return repo


def _warn(repo: Any, problems: Sequence[str]) -> None:
    """Say on stderr what was not read."""
    from clew.cli.row_lines import SHALLOW

    for line in (*problems, *([f"! {SHALLOW}"] if repo.is_shallow else [])):
        click.echo(line, err=True)


def _ask(repo: Any, question: Callable[[Index], T]) -> T:
    from clew.history import index

    return index.ask(repo, question)


def _starts(repo: Any, revs: Sequence[str]) -> list[str] | None:
    from clew.history import repository

    return [str(repository.resolve(repo, rev).id) for rev in revs] if revs else None


class _Known:
    """The names that may be typed: those of the newest commits, and only where one is not among them, all."""

    def __init__(self, index: Index, entries: Sequence[Entry]) -> None:
        self.index, self.entries = index, entries
        self.newest: list[str] | None = None

    def one(self, typed: str) -> str:
        """The full name that `typed` means; raises HistoryError for none, and for several."""
        from clew.errors import HistoryError

        found = self.find(typed)
        if len(found) > 1:
            few = ", ".join(f"`{name}`" for name in found[:3])
            raise HistoryError(f"{len(found)} names fit", where=f"name `{typed}`", fix=f"Write one: {few}.")
        return found[0]

    def find(self, typed: str) -> list[str]:
        """The full names that `typed` means; raises HistoryError."""
        from clew.errors import HistoryError
        from clew.history import names, table

        if self.newest is None:
            self.newest = table.known(self.index, self.entries[:NEWEST])
        try:
            return names.find(typed, self.newest)
        except HistoryError as error:
            if len(self.entries) <= NEWEST:
                raise self._told(typed, error) from None
        try:
            return names.find(typed, table.known(self.index, self.entries))
        except HistoryError as error:
            raise self._told(typed, error) from None

    def _told(self, typed: str, error: HistoryError) -> HistoryError:
        """The error, or that this clone has not got the files of some commits: there the name may stand."""
        from clew.errors import HistoryError
        from clew.history import names, repository

        problems = (one for lines in self.index.problems_of(self.entries).values() for one in lines)
        lacking = next((one for one in problems if one.endswith(repository.ABSENT)), None)
        if lacking is None or error.what != names.NONE:
            return error
        return HistoryError(lacking, where=f"name `{typed[:80]}`", fix=repository.BRING)


def _fitting(index: Index, entries: Sequence[Entry], where: str | None, known: _Known) -> list[Entry]:
    from clew.history import table
    from clew.history import where as expressions

    if where is None:
        return list(entries)
    expression = expressions.parse(where, known.one)
    used = {comparison.name for some in expression for comparison in some}
    columns = {name: table.column(index, entries, name) for name in used}
    return [
        entry
        for row, entry in enumerate(entries)
        if expressions.holds(expression, {name: values[row] for name, values in columns.items()})
    ]


def _with_value(index: Index, entries: Sequence[Entry], name: str) -> list[Entry]:
    from clew.history import table

    values = table.column(index, entries, name)
    return [entry for entry, value in zip(entries, values, strict=True) if value is not None]


def _sorted(index: Index, entries: Sequence[Entry], name: str) -> list[Entry]:
    """Best first by a metric, highest first by a param; commits without a number are left out."""
    from clew.history import names, table

    cost = names.cost(name)
    values = table.column(index, entries, name)
    numbers = [(cost(v), entry) for v, entry in zip(values, entries, strict=True) if table.is_number(v)]
    return [entry for _, entry in sorted(numbers, key=lambda pair: pair[0])]


def _problems(index: Index, entries: Sequence[Entry]) -> list[str]:
    """A line for each file that could not be read, with a commit that has it."""
    from clew.terminal import clean

    found: dict[str, str] = {}
    for commit, problems in index.problems_of(entries).items():
        for problem in problems:
            found.setdefault(problem, commit[:8])
    lines = [f"! {commit}: {clean(problem)}" for problem, commit in found.items()]
    return lines[:5] + ([f"! and {len(lines) - 5} more files that could not be read"] if len(lines) > 5 else [])


def _names(lines: Sequence[Line]) -> list[str]:
    return list(dict.fromkeys(name for line in lines for name in line.values))


def _varying(lines: Sequence[Line]) -> list[str]:
    """The params in which the lines differ."""
    from clew.history import names

    known = [name for name in _names(lines) if not names.is_metric(name)]
    return [name for name in known if len({str(line.values.get(name)) for line in lines}) > 1][:COLUMNS]


def _usual(lines: Sequence[Line]) -> list[str]:
    """The columns where none are named: metrics that vary, the chief one of each task of the last variant first."""
    from clew.history import names, table

    known = [name for name in _names(lines) if names.is_metric(name)]
    values = [name for name in known if name.endswith(".value")] or known
    numbers = [n for n in values if any(table.is_number(line.values.get(n)) for line in lines)]
    for variant in ("aligned", "sft"):
        chief = [n for n in numbers if n.startswith(f"metrics/quality.json:{variant}.") and n.split(".")[-2] in CHIEF]
        if chief:
            return chief[:COLUMNS]
    varying = [name for name in numbers if len({line.values.get(name) for line in lines}) > 1]
    return (varying or numbers)[:COLUMNS]


def _print(lines: Sequence[Line], columns: Sequence[str], how: How, as_json: bool) -> None:
    if as_json:
        found = [_as_json(line, columns) | {"close_to_best": row in how.close} for row, line in enumerate(lines)]
        click.echo(json.dumps(_finite(found), indent=2, allow_nan=False, default=str))
        return
    if not lines:
        click.echo(
            "No commit changed a param or a metric, or none fits. What is read are params.yaml, dvc.yaml and the"
            " metrics that it declares, in the repository's root.",
            err=True,
        )
        return
    from clew.cli import log_table

    log_table.draw(lines, columns, intervals=how.intervals, in_time=how.in_time, close=how.close)
    if how.left_out > 0:
        click.echo(f"{how.left_out} more lines are not shown: -n {len(lines) + how.left_out} shows all.", err=True)


def _finite(value: Any) -> Any:
    """The same with null for what JSON does not have: NaN and infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value


def _as_json(line: Line, columns: Sequence[str]) -> dict[str, Any]:
    commit = line.commit
    return {
        "commit": commit.id if commit else None,
        "time": commit.time if commit else None,
        "author": commit.author if commit else None,
        "title": commit.title if commit else "work tree",
        "labels": line.labels,
        "changed": line.changed,
        "at_edge": line.at_edge,
        "values": {name: line.values.get(name) for name in columns},
    }
