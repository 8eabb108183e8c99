"""A trace as a page that needs nothing else: no script, no network, in the look of the experiment's report."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clew.lineage import drawing
from clew.lineage.graph import Edge, Graph, Node
from clew.lineage.thing import Root
from clew.report import page, words

if TYPE_CHECKING:
    from clew.lineage.trace import Trace

TEMPLATES = Path(__file__).parent / "templates"
MOST_COMMITS = 200
"""Commits that the page lists; --json has all."""


def render(trace: Trace) -> str:
    """The page as HTML: everything that names hold is escaped."""
    import jinja2

    env = page.environment()
    env.loader = jinja2.ChoiceLoader([jinja2.FileSystemLoader(TEMPLATES), jinja2.FileSystemLoader(page.TEMPLATES)])
    thing, graph = trace.thing, drawing.graph_of(trace)
    commit = thing.revision.commit
    values: dict[str, Any] = {
        "asked": thing.asked,
        "down": trace.down is not None,
        "at": thing.revision.name + (f" ({commit.id[:10]})" if commit else ""),
        "metric": _metric(thing.facts),
        "facts": [(key, value) for key, value in thing.facts.items() if key in ("file", "md5", "sha256", "row_id")],
        "notes": trace.notes,
        "lines": [],
        "steps": [],
        "code": [],
        "machines": [],
        "versions": {},
        "held": "",
        "models": [],
        "commits": [],
        "more_commits": 0,
    }
    if trace.down is not None and thing.roots:
        values |= _down(trace.down.held, graph)
    elif trace.upstream is not None:
        runs = drawing.runs(graph)
        values |= {
            "lines": list(_lines(graph, thing.roots)),
            "steps": [_step(graph, run) for run in runs],
            "code": drawing.code(runs),
            "machines": list(drawing.machines(runs)),
            "versions": drawing.versions(runs),
        }
    return page.write(env, "trace.html", values)


def _metric(facts: dict[str, Any]) -> dict[str, Any] | None:
    if "metric" not in facts:
        return None
    value = facts.get("value")
    number = words.number(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
    return {"name": facts["metric"], "value": number, "interval": words.interval(facts), "n": facts.get("n")}


def _down(held: Any, graph: Graph) -> dict[str, Any]:
    commits = held.commits[::-1]
    return {
        "held": drawing.contained(held),
        "steps": [_step(graph, run) for run in drawing.runs(graph)[:MOST_COMMITS]],
        "models": [{**n.facts, "name": n.name} for n in drawing.models(graph)],
        "commits": [commit._asdict() | {"day": drawing.day(commit.time)} for commit in commits[:MOST_COMMITS]],
        "more_commits": max(0, len(commits) - MOST_COMMITS),
    }


def _lines(graph: Graph, roots: list[Root]) -> Iterator[dict[str, Any]]:
    """The tree as lines with "open" and "close" between them: each run's inputs once, as in the terminal."""
    seen: set[str] = set()
    for name, root in zip(graph.roots, roots, strict=True):
        yield {"open": True, "top": True}
        yield from _line(graph, name, None, root, seen)
        yield {"close": True}


def _line(graph: Graph, name: str, edge: Edge | None, root: Root | None, seen: set[str]) -> Iterator[dict[str, Any]]:
    node = graph.nodes[name]
    made = graph.before(name)
    run = graph.nodes[made[0].start] if made else None
    again = run is not None and run.id in seen
    yield {
        "node": node,
        "size": drawing.size(node.facts),
        "short": str(node.facts.get("md5") or "")[:8],
        "member": root.member if root else "",
        "via": edge.via if edge else "",
        "note": _doubt(edge) if node.kind != "broken" else "",
        "run": run,
        "again": again,
        "anchor": anchor(run) if run else "",
    }
    if run is not None and not again:
        seen.add(run.id)
        inputs = graph.before(run.id)
        if inputs:
            yield {"open": True, "top": False}
            for one in inputs:
                yield from _line(graph, one.start, one, None, seen)
            yield {"close": True}
    yield {"end": True}


def _doubt(edge: Edge | None) -> str:
    if edge is None or edge.how not in drawing.DOUBTFUL:
        return ""
    return "by path only" if edge.how == "assumed" else edge.note


def anchor(run: Node) -> str:
    """The name by which the page's links find a run."""
    return "run-" + "".join(sign if sign.isascii() and sign.isalnum() else "-" for sign in run.id)


def _step(graph: Graph, run: Node) -> dict[str, Any]:
    record = run.facts.get("record") or {}
    known = "missing" not in record and bool(record)
    return {
        "name": run.name,
        "cmd": run.facts.get("cmd", ""),
        "anchor": anchor(run),
        "reads": [graph.nodes[edge.start].name for edge in graph.before(run.id)],
        "makes": [graph.nodes[edge.end].name for edge in graph.after(run.id)],
        "params": [(name, drawing.shown(value, 2000)) for name, value in (run.facts.get("params") or {}).items()],
        "seconds": words.duration(record["seconds"]) if known and "seconds" in record else "",
        "started": _minute(record.get("started")) if known else "",
        "who": record.get("who") if known else "",
        "commit": str(record.get("commit") or "")[:10] if known else "",
        "believed": record.get("believed", ""),
        "missing": record.get("missing", ""),
        "held": run.facts.get("commits"),
        "heads": run.facts.get("heads", []),
    }


def _minute(started: Any) -> str:
    try:
        return datetime.fromisoformat(str(started)).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return ""
