"""A trace as JSON, Mermaid and DOT, and what the terminal and the page say of it in common."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from clew.lineage.graph import Edge, Graph, Node
from clew.terminal import clean

if TYPE_CHECKING:
    from clew.lineage.past import Held
    from clew.lineage.trace import Trace

PLAIN = frozenset(" ./_@:=+,()-*")
"""Signs that mean nothing to Mermaid within quotes; letters and digits mean nothing either."""
DOUBTFUL = ("assumed", "elsewhere", "broken")
"""Links that are drawn as such: see `graph.How`."""


def graph_of(trace: Trace) -> Graph:
    """The graph that was asked for."""
    if trace.down is not None:
        return trace.down.graph
    return trace.upstream or Graph()


def as_json(trace: Trace) -> str:
    """Everything that was found, as one JSON object with sorted keys."""
    graph, thing = graph_of(trace), trace.thing
    commit = thing.revision.commit
    roots = [
        {"node": name, "path": root.artifact.path, "member": root.member or None, "member_md5": root.member_md5 or None}
        for name, root in zip(graph.roots, thing.roots, strict=False)
    ]
    found: dict[str, Any] = {
        "asked": thing.asked,
        "kind": thing.kind,
        "direction": "down" if trace.down is not None else "up",
        "revision": {"name": thing.revision.name, "commit": commit.id if commit else None},
        "facts": thing.facts,
        "roots": roots,
        "notes": trace.notes,
        "nodes": [{**node.facts, "id": node.id, "kind": node.kind, "name": node.name} for node in graph.nodes.values()],
        "edges": [
            {"from": e.start, "to": e.end, "how": e.how, "via": e.via or None, "note": e.note or None}
            for e in graph.edges
        ],
    }
    if trace.down is not None:
        held = trace.down.held
        found["heads"], found["uncommitted"] = held.heads, held.uncommitted
        found["commits"] = [commit._asdict() for commit in held.commits]
    return json.dumps(_finite(found), indent=2, sort_keys=True, ensure_ascii=False, default=str, allow_nan=False)


def _finite(value: Any) -> Any:
    """A value with null for the numbers that JSON has not: NaN and Infinity.

    >>> _finite({"f1": float("nan"), "n": [1, float("inf")]})
    {'f1': None, 'n': [1, None]}
    """
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def mermaid(graph: Graph) -> str:
    """A Mermaid flowchart, from what came first to what came last; whatever names hold is quoted by code point."""
    shapes = {"run": ("([", "])"), "origin": ("[/", "/]"), "broken": ("{{", "}}")}
    lines = ["flowchart LR"]
    ids = {name: f"n{position}" for position, name in enumerate(graph.nodes)}
    for name, node in graph.nodes.items():
        start, end = shapes.get(node.kind, ("[", "]"))
        label = "<br/>".join(_coded(part) or "–" for part in _label(node))  # an empty label is an error to Mermaid
        lines.append(f'  {ids[name]}{start}"{label}"{end}')
    for edge in graph.edges:
        arrow = "-.->" if edge.how in DOUBTFUL else "-->"
        said = f'|"{_coded(_edge_label(edge))}"|' if _edge_label(edge) else ""
        lines.append(f"  {ids[edge.start]} {arrow}{said} {ids[edge.end]}")
    asked = [ids[name] for name in graph.roots if name in ids]
    if asked:
        lines += ["  classDef asked stroke-width:3px", f"  class {','.join(dict.fromkeys(asked))} asked"]
    return "\n".join(lines) + "\n"


def dot(graph: Graph) -> str:
    """The same for Graphviz."""
    shapes = {"run": "ellipse", "origin": "folder", "broken": "octagon"}
    lines = ["digraph trace {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif"];']
    ids = {name: f"n{position}" for position, name in enumerate(graph.nodes)}
    for name, node in graph.nodes.items():
        label = "\\n".join(_quoted(part) for part in _label(node))
        bold = ", penwidth=3" if name in graph.roots else ""
        lines.append(f'  {ids[name]} [label="{label}", shape={shapes.get(node.kind, "box")}{bold}];')
    for edge in graph.edges:
        style = ", style=dashed" if edge.how in DOUBTFUL else ""
        lines.append(f'  {ids[edge.start]} -> {ids[edge.end]} [label="{_quoted(_edge_label(edge))}"{style}];')
    return "\n".join([*lines, "}"]) + "\n"


def _label(node: Node) -> list[str]:
    md5 = node.facts.get("md5")
    if node.kind == "origin":
        return [node.name, *([f"sha256 {node.facts['sha256'][:12]}"] if node.facts.get("sha256") else [])]
    return [node.name, *([str(md5)[:12]] if md5 else []), *(["not found"] if node.kind == "broken" else [])]


def _edge_label(edge: Edge) -> str:
    how = {"assumed": "by path only", "elsewhere": "from another commit"}.get(edge.how, "")
    return ", ".join(part for part in (f"in {edge.via}" if edge.via else "", how) if part)


def _coded(text: str) -> str:
    return "".join(sign if sign in PLAIN or sign.isalnum() else f"#{ord(sign)};" for sign in clean(text))


def _quoted(text: str) -> str:
    return clean(text).replace("\\", "\\\\").replace('"', '\\"')


def shown(value: object, width: int = 90) -> str:
    """A value of params on one line, cut where it is longer."""
    text = clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= width else text[: width - 1] + "…"


def size(found: Mapping[str, Any]) -> str:
    """Bytes and number of files, as people read them.

    >>> size({"size": 541614754, "files": 6}), size({"size": None})
    ('541.6 MB, 6 files', '')
    """
    n = found.get("size")
    if n is None:
        return ""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= factor:
            text = f"{n / factor:.1f} {unit}"
            break
    else:
        text = f"{n} B"
    return text + (f", {found['files']} files" if found.get("files") else "")


def day(seconds: int) -> str:
    """The day (UTC) of a time in seconds since 1970."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
    except (ValueError, OverflowError, OSError):  # a commit's clock may say anything
        return ""


def runs(graph: Graph) -> list[Node]:
    """The runs, each after those whose work it used."""
    before: dict[str, list[str]] = {}
    for edge in graph.edges:
        before.setdefault(edge.end, []).append(edge.start)
    order: dict[str, None] = {}
    stack = [(name, False) for name in reversed(list(graph.nodes))]
    entered = set()
    while stack:
        name, done = stack.pop()
        if done:
            order[name] = None
        elif name not in entered:
            entered.add(name)
            stack.append((name, True))
            stack += [(earlier, False) for earlier in before.get(name, ())]
    return [graph.nodes[name] for name in order if graph.nodes[name].kind == "run"]


def code(found: Iterable[Node]) -> list[dict[str, Any]]:
    """Each version of a code file once, with the stages that ran it, by path."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for run in found:
        for entry in run.facts.get("code", ()):
            row = rows.setdefault((entry["path"], entry["md5"]), {**entry, "stages": []})
            row["stages"].append(run.name)
    return [rows[key] | {"said": _said(rows[key])} for key in sorted(rows)]


def _said(entry: Mapping[str, Any]) -> str:
    """What a reader must know of a code file; "" where it is as one expects."""
    words = {
        "changed since": "this revision has another version; the run read this one",
        "not committed": "read as it lies in the work tree: not committed",
        "not in history": "the version that the run read is in no commit up to this revision",
    }.get(str(entry["state"]), "")
    return words or ("at the edge of a shallow clone: perhaps older" if entry.get("at_edge") else "")


def machines(found: Iterable[Node]) -> Iterator[tuple[str, list[str]]]:
    """Each machine and set of versions with the stages that ran there, and each reason for having none."""
    groups: dict[str, list[str]] = {}
    for run in found:
        record = run.facts.get("record") or {}
        if "missing" in record:
            groups.setdefault(f"not known: {record['missing']}", []).append(run.name)
            continue
        groups.setdefault(hardware(record.get("hardware") or {}), []).append(run.name)
    yield from groups.items()


def hardware(found: Mapping[str, Any]) -> str:
    """A machine in a line.

    >>> hardware({"cpu": "AMD EPYC", "cores": 2, "memory_bytes": 25_000_000_000, "system": "Linux x86_64", "gpu": None})
    'AMD EPYC, 2 cores, 25.0 GB, Linux x86_64'
    """
    parts = [found.get("cpu"), f"{found['cores']} cores" if found.get("cores") else None]
    parts += [size({"size": found.get("memory_bytes")}), found.get("system"), found.get("gpu")]
    return ", ".join(clean(part) for part in parts if part) or "a machine that the record does not describe"


def versions(found: Iterable[Node]) -> dict[str, list[str]]:
    """Package → the versions that the believed records name (one, if all runs had the same)."""
    seen: dict[str, dict[str, None]] = {}
    for run in found:
        for name, version in ((run.facts.get("record") or {}).get("versions") or {}).items():
            seen.setdefault(clean(name), {})[clean(version)] = None
    return {name: list(some) for name, some in sorted(seen.items())}


def models(graph: Graph) -> list[Node]:
    """The models of a graph that was walked down (not what it was walked from), those with most commits first."""
    made = [node for node in graph.nodes.values() if node.facts.get("model") and node.kind == "artifact"]
    found = [node for node in made if node.id not in graph.roots]
    return sorted(found, key=lambda node: (-node.facts.get("commits", 0), node.id))


def contained(held: Held, most: int = 8) -> str:
    """Where something stands, in words: "3 commits on main, lora"."""
    n = len(held.commits)
    heads = ", ".join(map(clean, held.heads[:most])) + (
        f" and {len(held.heads) - most} more" if held.heads[most:] else ""
    )
    committed = f"{n} commit{'s' if n != 1 else ''} on {heads}" if n else ""
    parts = (committed, "the work tree, uncommitted" if held.uncommitted else "")
    return " and ".join(part for part in parts if part)
