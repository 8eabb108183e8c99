"""`clew trace`: from a file, a number or a digest back to all that it was made from, and on to all that used it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clew import paths
from clew.history import repository, store
from clew.history.lockfile import Artifact
from clew.lineage import past, provenance, thing
from clew.lineage.graph import Graph, Linker, Node
from clew.lineage.nodes import artifact_id, artifact_node, run_id
from clew.lineage.revision import Made, Revision, edge
from clew.lineage.thing import Root, Thing

if TYPE_CHECKING:
    from clew.history.git import Repository
    from clew.lineage.downstream import Down


@dataclass
class Trace:
    """An answer. upstream, down: one of them is asked for, the other None. notes: what a reader must know."""

    thing: Thing
    upstream: Graph | None = None
    down: Down | None = None
    notes: list[str] = field(default_factory=list)


def trace(folder: Path, asked: str, rev: str | None = None, *, down: bool = False, thorough: bool = False) -> Trace:
    """Trace what `asked` names, in the repository that `folder` lies in.

    rev: None is the work tree where it has a dvc.lock, else HEAD. thorough: hash what lies in the cache, whatever its
    size. Raises HistoryError for what is not there.
    """
    repo = repository.open_repository(folder)
    kept = store.store_of(repo, rev or "HEAD")
    history = past.open_past(repo)
    linker = Linker(history, kept)
    found = thing.resolve(repo, linker, folder, asked, rev, down=down, thorough=thorough)
    answer = Trace(found, notes=list(found.notes))
    if down:
        from clew.lineage.downstream import downstream

        answer.down = downstream(found, linker)
        answer.notes += answer.down.notes
    else:
        walk = Walk(repo, linker, thorough=thorough)
        answer.upstream = walk.upstream(found)
        answer.notes += walk.notes
    answer.notes += dict.fromkeys(linker.wrong)
    broken = answer.upstream is not None and any(node.kind == "broken" for node in answer.upstream.nodes.values())
    if repo.is_shallow and (down or broken):
        answer.notes.append(edge(repo))
    if history.problem:
        answer.notes.append(history.problem)
    if not any(folder.is_dir() for folder in kept.folders):
        answer.notes.append("there is no DVC cache here: folders are known by their hash, not by their files")
    return answer


class Walk:
    """One walk upstream. notes: where the thread is broken or was taken on trust."""

    def __init__(self, repo: Repository, linker: Linker, *, thorough: bool) -> None:
        self.repo, self.linker = repo, linker
        self.records = provenance.Records(repo, linker, thorough=thorough)
        self.graph = Graph()
        self.notes: list[str] = []
        self.runs: dict[str, tuple[Revision, str]] = {}
        self.code: dict[str, list[Artifact]] = {}

    def upstream(self, found: Thing) -> Graph:
        """The graph back from the roots of what was asked for."""
        waiting: list[str] = []
        for root in found.roots:
            made = Made(root.revision, root.stage, root.artifact) if root.stage else None
            name = artifact_id(root.artifact)
            self.graph.roots.append(name)
            if made is None:
                self._source(root.revision, root.artifact)
            else:
                waiting += self._made(made)
        while waiting:
            waiting += self._run(waiting.pop())
        self._surround(found.roots)
        return self.graph

    def _made(self, made: Made) -> list[str]:
        """Add an artifact and the run that made it; the run's id where it is new."""
        block = made.revision.stages[made.stage]
        run = run_id(made.stage, block)
        self.graph.add(artifact_node(made.out))
        new = self.graph.add(Node(run, "run", made.stage, {"cmd": block.cmd, "revision": made.revision.name}))
        self.graph.join(run, artifact_id(made.out))
        self.runs.setdefault(run, (made.revision, made.stage))
        return [run] if new else []

    def _source(self, where: Revision, artifact: Artifact) -> str:
        node = artifact_node(artifact, "source")
        if where.files.below(artifact.path):
            same = where.digest(artifact.path) == artifact.md5
            node.facts["in_git"] = "these bytes" if same else "other bytes"
        self.graph.add(node)
        return node.id

    def _run(self, run: str) -> list[str]:
        """Link every dep of a run; the ids of the runs that are new."""
        where, stage = self.runs[run]
        found: list[str] = []
        for dep in where.stages[stage].deps:
            link = self.linker.link(where, stage, dep)
            if link.how == "code":
                self.code.setdefault(run, []).append(dep)
            elif link.how == "source":
                self.graph.join(self._source(where, dep), run, "source", note=link.note)
            elif link.how == "broken":
                node = Node(f"broken:{artifact_id(dep)}", "broken", dep.path, {"md5": dep.md5, "why": link.note})
                self.graph.add(node)
                self.graph.join(node.id, run, "broken", note=link.note)
                self._note(f"the thread of {stage} is broken at {dep.path}: {link.note}, nor has any commit made it")
            for made in link.made:
                found += self._made(made)
                via = dep.path if made.out.path != dep.path else ""
                self.graph.join(artifact_id(made.out), run, link.how, via, link.note)
            if link.made and link.note:
                self._note(f"{stage} read {dep.path}: {link.note}")
        return found

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _surround(self, roots: Iterable[Root]) -> None:
        """Give each run its params, origins, code and record: git's log is read once for each revision."""
        for where in {id(where): where for where, _stage in self.runs.values()}.values():
            runs = {run: stage for run, (one, stage) in self.runs.items() if one is where}
            head = where.commit.id if where.commit else repository.head(self.repo)
            wanted = {dep.path for run in runs for dep in self.code.get(run, ())}
            records = {stage: (paths.RUNTIME / f"{stage}.json").as_posix() for stage in runs.values()}
            changes = provenance.last_changes(self.repo, head, {*wanted, *records.values()}) if head else {}
            seen: dict[Artifact, dict[str, Any]] = {}
            for run, stage in runs.items():
                block = where.stages[stage]
                facts = self.graph.nodes[run].facts
                facts["params"] = provenance.params(block)
                for dep in self.code.get(run, ()):
                    if dep not in seen:
                        seen[dep] = provenance.code(self.repo, where, dep, changes.get(dep.path), head)
                facts["code"] = [seen[dep] for dep in self.code.get(run, ())]
                facts["record"] = self.records.of(where, stage, block, changes.get(records[stage]))
                self._origins(run, provenance.origins(stage, facts["params"]), roots)

    def _origins(self, run: str, found: list[dict[str, Any]], roots: Iterable[Root]) -> None:
        """Where a run fetched from; of a file of one source (`data/raw/<source>/…`) that source alone."""
        inner = {root.member.partition("/")[0] for root in roots if root.member and root.run_of(self.runs[run][1])}
        named = [origin for origin in found if origin["name"] in inner]
        for origin in named or found:
            node = Node(f"origin:{origin['uri']}@{origin['sha256']}", "origin", origin["uri"], _origin(origin))
            self.graph.add(node)
            self.graph.join(node.id, run)


def _origin(found: dict[str, Any]) -> dict[str, Any]:
    """The facts of an origin's node, whose own name is its address. source: as params call it."""
    return {"source" if key == "name" else key: value for key, value in found.items()}
