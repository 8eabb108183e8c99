"""A trace in the terminal: the thread as a tree, then the params, the code, the machine, and what to be wary of."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from clew.lineage import drawing
from clew.lineage.graph import Edge, Graph, Node
from clew.lineage.thing import Root, Thing
from clew.terminal import clean

if TYPE_CHECKING:
    from clew.lineage.downstream import Down
    from clew.lineage.trace import Trace

MOST_PARAMS, MOST_ROWS = 12, 20
"""Lines of a stage's params, and of a table, that the terminal shows; --json has all."""
WIDE = 200


def show(trace: Trace, console: Console | None = None) -> None:
    """Print a trace."""
    console = console or Console(highlight=False)
    parts: list[RenderableType] = [_title(trace.thing)]
    if trace.upstream is not None and trace.thing.roots:
        parts += _upstream(trace.upstream, trace.thing.roots)
    if trace.down is not None and trace.thing.roots:
        parts += _down(trace.down)
    parts += [Text.assemble(("! ", "bold red"), (clean(note), "red")) for note in trace.notes]
    if console.is_terminal:
        console.print(Group(*parts))
        return
    plain = Console(width=WIDE, highlight=False, color_system=None)
    with plain.capture() as captured:
        plain.print(Group(*parts), soft_wrap=True)
    console.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def _title(thing: Thing) -> Text:
    commit = thing.revision.commit
    at = thing.revision.name + (f" ({commit.id[:10]})" if commit and commit.id[:10] != thing.revision.name else "")
    text = Text.assemble((clean(thing.asked), "bold"), (f"  at {clean(at)}", "dim"))
    if "metric" in thing.facts:
        facts = {key: value for key, value in thing.facts.items() if key != "metric"}
        value = facts.pop("value", None)
        text.append(f"\n{clean(thing.facts['metric'])} = {'null' if value is None else value}", "bold cyan")
        text.append("".join(f"  {key} {clean(found)}" for key, found in facts.items() if found is not None), "cyan")
    elif thing.kind in ("file", "digest", "row"):
        text.append("".join(f"\n{key} {clean(value)}" for key, value in thing.facts.items() if key != "file"), "dim")
    return text


def _upstream(graph: Graph, roots: list[Root]) -> Iterator[RenderableType]:
    seen: set[str] = set()
    for name, root in zip(graph.roots, roots, strict=True):
        tree = Tree(_artifact(graph, graph.nodes[name], None, root))
        _grow(graph, name, tree, seen)
        yield tree
    runs = drawing.runs(graph)
    if not runs:
        return
    yield from _section("Params, as dvc.lock recorded them", _params(runs))
    yield from _section("Code, as each stage read it, and who changed it last", _code(runs))
    yield from _section("Machine", _machines(runs))


def _section(title: str, body: RenderableType) -> list[RenderableType]:
    return [Text(f"\n{title}", "bold"), body]


def _grow(graph: Graph, name: str, tree: Tree, seen: set[str]) -> None:
    """Hang below an artifact what the run that made it read: each run's inputs are shown once."""
    for made in graph.before(name):
        if made.start in seen:
            continue
        seen.add(made.start)
        for edge in graph.before(made.start):
            branch = tree.add(_artifact(graph, graph.nodes[edge.start], edge, None, seen))
            _grow(graph, edge.start, branch, seen)


def _artifact(
    graph: Graph, node: Node, edge: Edge | None, root: Root | None, seen: set[str] | frozenset[str] = frozenset()
) -> Text:
    """One line: what it is, and which run made it."""
    if node.kind == "origin":
        sha256, licence = node.facts.get("sha256"), node.facts.get("license")
        text = Text.assemble((clean(node.name), "magenta"), (f"  sha256 {clean(sha256)[:12]}" if sha256 else "", "dim"))
        return text.append(f"  {clean(licence)}" if licence else "", "dim")
    if node.kind == "broken":
        return Text(f"{clean(node.name)}  the thread is broken here: {clean(node.facts['why'])}", "bold red")
    text = Text(clean(node.name), "bold cyan" if node.facts.get("model") else "cyan")
    md5 = str(node.facts.get("md5") or "")[:8]
    text.append("".join(f"  {part}" for part in (drawing.size(node.facts), md5) if part), "dim")
    if root and root.member:
        md5 = f" ({root.member_md5[:8]})" if root.member_md5 else ""
        text.append(f"  in it {clean(root.member)}{md5}", "bold")
    if edge and edge.via:
        text.append(f"  in {clean(edge.via)}", "dim")
    if edge and edge.how in drawing.DOUBTFUL:
        text.append("  by path only" if edge.how == "assumed" else f"  {clean(edge.note)}", "yellow")
    if node.kind == "source":
        return text.append(f"  no stage makes it{_in_git(node)}", "yellow")
    made = graph.before(node.id)
    for one in made:
        text.append("  ← ", "dim").append(clean(graph.nodes[one.start].name), "green")
        text.append("  (above)" if one.start in seen else "", "dim")
    return text


def _in_git(node: Node) -> str:
    return {"these bytes": "; in git", "other bytes": "; git has other bytes of it now"}.get(
        node.facts.get("in_git", ""), ""
    )


def _params(runs: list[Node]) -> Table:
    table = Table.grid(padding=(0, 2))
    for run in runs:
        values = list((run.facts.get("params") or {}).items())
        rest = len(values) - MOST_PARAMS
        kept = values[:MOST_PARAMS] if rest > 1 else values
        for position, (name, value) in enumerate(kept):
            table.add_row(Text(clean(run.name) if not position else "", "green"), clean(name), drawing.shown(value))
        if rest > 1:
            table.add_row("", Text(f"… {rest} more (--json has them)", "dim"), "")
    return table


def _code(runs: list[Node]) -> Table:
    table = Table.grid(padding=(0, 2))
    for row in drawing.code(runs):
        if row.get("commit"):
            who = (row["commit"][:10], drawing.day(row["time"]), clean(row["author"]), clean(row["title"]))
        else:
            who = ("", "", "", "")
        cells = [clean(row["path"]), Text(str(row["md5"])[:8], "dim"), *who[:3]]
        last = Text(drawing.shown(who[3], 50), "dim")
        if row["said"]:
            last.append(f"  {row['said']}", "yellow")
        table.add_row(*cells, last)
    return table


def _machines(runs: list[Node]) -> Group:
    parts: list[Text] = []
    for run in runs:
        record: dict[str, Any] = run.facts.get("record") or {}
        if "missing" not in record:
            facts = (
                record.get("started"),
                f"{record['seconds']} s" if "seconds" in record else None,
                record.get("who"),
            )
            words = ", ".join(clean(part) for part in facts if part)
            commit = clean(record.get("commit") or "")[:10]
            dirty = " with uncommitted changes" if record.get("uncommitted_changes") else ""
            parts.append(Text.assemble((clean(run.name), "green"), f"  {words}, on {commit}{dirty}"))
    for machine, names in drawing.machines(runs):
        parts.append(Text.assemble(machine, (f"  ({', '.join(map(clean, names))})", "dim")))
    found = drawing.versions(runs)
    if found:
        parts.append(Text(", ".join(f"{name} {' and '.join(some)}" for name, some in found.items()), "dim"))
    return Group(*parts)


def _down(down: Down) -> Iterator[RenderableType]:
    if not any(node.kind == "run" for node in down.graph.nodes.values()):
        yield Text("Nothing in the history has used this version of it.")
        return
    held = drawing.contained(down.held) or "no commit: only entries of stages that dvc.yaml no longer has"
    yield Text(f"Its thread runs through {held}.")
    yield _stages(down.graph)
    found = drawing.models(down.graph)
    if found:
        yield from _section(f"Models that it is in ({len(found)})", _models(found))
    yield from _section(f"Commits ({len(down.held.commits)})", _commits(down))


def _stages(graph: Graph) -> Tree:
    """Stages by name below those whose outs they read; what many commits repeat is one line."""
    reads: dict[str, dict[str, int]] = {}
    makes: dict[str, dict[str, int]] = {}
    runs: dict[str, int] = {}
    for node in graph.nodes.values():
        if node.kind == "run":
            runs[node.name] = runs.get(node.name, 0) + 1
    for edge in graph.edges:
        start, end = graph.nodes[edge.start], graph.nodes[edge.end]
        side, key, other = (reads, start.name, end.name) if end.kind == "run" else (makes, start.name, end.name)
        side.setdefault(key, {})[other] = side.get(key, {}).get(other, 0) + 1
    names = dict.fromkeys(graph.nodes[name].name for name in graph.roots)
    tree = Tree(Text(", ".join(map(clean, names)), "bold cyan"))
    seen: set[str] = set()
    starts = [*names, *(other for name in names for other in makes.get(name, ()))]
    _hang(tree, starts, reads, makes, runs, seen)
    return tree


def _hang(
    tree: Tree,
    paths: list[str],
    reads: dict[str, dict[str, int]],
    makes: dict[str, dict[str, int]],
    runs: dict[str, int],
    seen: set[str],
) -> None:
    for stage in dict.fromkeys(stage for path in paths for stage in reads.get(path, ())):
        if stage in seen:
            continue
        seen.add(stage)
        outs = makes.get(stage, {})
        text = Text.assemble((clean(stage), "green"), (f"  {runs[stage]} run{'s' if runs[stage] > 1 else ''}", "dim"))
        text.append("  → " + ", ".join(map(clean, outs)), "cyan")
        above = dict.fromkeys(other for out in outs for other in reads.get(out, ()) if other in seen)
        text.append(f"  read by {', '.join(map(clean, above))} (above)" if above else "", "dim")
        _hang(tree.add(text), list(outs), reads, makes, runs, seen)


def _models(found: list[Node]) -> Group:
    table = Table.grid(padding=(0, 2))
    for node in found[:MOST_ROWS]:
        n, heads = node.facts.get("commits", 0), node.facts.get("heads", [])
        where = f"{n} commit{'s' if n != 1 else ''}" if n else "uncommitted"
        names = ", ".join(map(clean, heads[:6])) + (" …" if heads[6:] else "")
        table.add_row(Text(clean(node.name), "bold cyan"), Text(str(node.facts["md5"])[:8], "dim"), where, names)
    return Group(table, *_more(found[MOST_ROWS:]))


def _commits(down: Down) -> Group:
    table = Table.grid(padding=(0, 2))
    newest = down.held.commits[::-1]
    for commit in newest[:MOST_ROWS]:
        cells = (commit.id[:10], drawing.day(commit.time), clean(commit.author))
        table.add_row(*cells, Text(drawing.shown(commit.title, 70), "dim"))
    return Group(table, *_more(newest[MOST_ROWS:]))


def _more(left: Sized) -> list[Text]:
    return [Text(f"… {len(left)} more (--json has them)", "dim")] if len(left) else []
