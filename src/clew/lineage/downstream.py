"""All that came of a thing, in every commit of every branch: by path and hash, run after run.

data/raw/dreaddit/train.csv → prepare → data/rows.parquet → clean → … → models/aligned   14 commits on lora, main
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from clew.history import repository
from clew.history.lockfile import Artifact
from clew.history.store import DIR, Member
from clew.lineage.graph import Graph, How, Link, Linker, Node, subfolder
from clew.lineage.nodes import artifact_id, artifact_node, run_id
from clew.lineage.past import Block, Held
from clew.lineage.revision import listing_md5, of_commit
from clew.lineage.thing import Root, Thing

MOST_VERSIONS = 2000
"""Versions of a folder in git that are hashed to know which one a run read."""


class Use(NamedTuple):
    """A run that read something. via: the folder, or the file of it, through which."""

    block: Block
    how: How
    via: str
    note: str


@dataclass
class Down:
    """graph: of runs and of what they made. held: the commits that any of it stands in. notes: of what is not sure."""

    graph: Graph
    held: Held
    notes: list[str] = field(default_factory=list)


def downstream(thing: Thing, linker: Linker) -> Down:
    """Everything that used what was asked for, directly or through others."""
    return _Walk(linker).down(thing)


class _Walk:
    def __init__(self, linker: Linker) -> None:
        self.linker, self.past = linker, linker.past
        self.graph = Graph()
        self.notes: list[str] = []
        self.blocks: dict[str, set[int]] = defaultdict(set)  # node → the index's blocks that are, or made, it
        self.readers: dict[str, list[Block]] = defaultdict(list)
        self.reading: dict[int, list[Block]] = defaultdict(list)  # dvc.lock → the folders that its runs read
        self.links: dict[tuple[int, Block], Link | None] = {}
        self.ids: dict[int, str] = {}  # block → node of its run
        for block in self.past.folders_read:
            self.readers[block.artifact.path].append(block)
            for document in self.past.locks.get(block.number, ()):
                self.reading[document].append(block)

    def down(self, thing: Thing) -> Down:
        waiting: list[Artifact] = []
        for root in thing.roots:
            start = self._start(root)
            self.graph.roots.append(start.id)
            self.graph.add(start)
            for artifact, how in self._holders(root):
                if artifact_id(artifact) != start.id:
                    self.graph.join(start.id, artifact_id(artifact), how)
                waiting += self._artifact(artifact)
            if not root.stage:
                waiting += self._uses(root.artifact, self._of_source(root.artifact))
        while waiting:
            artifact = waiting.pop()
            waiting += self._uses(artifact, self._of(artifact))
        numbers: set[int] = set()
        for name, node in self.graph.nodes.items():
            if node.kind == "run" or node.facts.get("model"):
                held = self.past.held(self.blocks[name])
                facts = {"commits": len(held.commits), "heads": held.heads, "uncommitted": held.uncommitted}
                node.facts |= facts | {"first": held.commits[0].id if held.commits else None}
            if node.kind == "run":
                numbers |= self.blocks[name]
        held = self.past.held(numbers)
        return Down(self.graph, held, [*self.notes, *_counted(held)])

    def _start(self, root: Root) -> Node:
        node = artifact_node(root.artifact, "artifact" if root.stage else "source")
        if root.member:
            path = f"{root.artifact.path}/{root.member}"
            return Node(f"{path}@{root.member_md5}", "source", path, {"md5": root.member_md5, "model": False})
        return node

    def _holders(self, root: Root) -> Iterator[tuple[Artifact, How]]:
        """The artifact that was asked for; of a file in a folder every version of the folder that holds the file."""
        if not root.member:
            yield root.artifact, "exact"
            return
        own = _files(self.linker, root.artifact, root.member)
        unknown = 0
        versions = {block.artifact.md5: block.artifact for block in self.past.at(root.artifact.path)}
        for artifact in (versions | {root.artifact.md5: root.artifact}).values():
            files = _files(self.linker, artifact, root.member)
            unknown += files is None
            if files is not None and files == own:
                yield artifact, "member"
            elif artifact.md5 == root.artifact.md5:
                yield artifact, "assumed"
        if unknown:
            self.notes.append(
                f"the cache lacks the listings of {unknown} of {len(versions) or 1} versions of {root.artifact.path}:"
                f" whether they hold {root.member} is not known"
            )

    def _artifact(self, artifact: Artifact) -> list[Artifact]:
        """Add an artifact and who made it; itself where it is new."""
        node = artifact_node(artifact)
        new = self.graph.add(node) or artifact_id(artifact) not in self.blocks
        if new:
            made = self.past.made(artifact.md5)
            self.blocks[node.id] |= {block.number for block in made if block.artifact.path == artifact.path}
        return [artifact] if new else []

    def _uses(self, artifact: Artifact, uses: Iterator[Use]) -> list[Artifact]:
        """Add the runs that read an artifact and what they made; the artifacts that are new."""
        found: list[Artifact] = []
        for use in uses:
            block = self.past.stage(use.block.number)
            run = self.ids.get(use.block.number) or run_id(use.block.stage, block)
            self.ids[use.block.number] = run
            self.graph.add(Node(run, "run", use.block.stage, {"cmd": block.cmd}))
            self.graph.join(artifact_id(artifact), run, use.how, use.via, use.note)
            note = f"{use.block.stage} read {use.via}: {use.note}"
            if use.note and note not in self.notes:
                self.notes.append(note)
            new = use.block.number not in self.blocks[run]
            self.blocks[run].add(use.block.number)
            for out in block.outs if new else ():
                found += self._artifact(out)
                self.graph.join(run, artifact_id(out))
        return found

    def _of(self, artifact: Artifact) -> Iterator[Use]:
        """The runs that read an artifact: as it is, within a folder, or a file of it."""
        for block in self.past.used(artifact.md5):
            if block.artifact.path == artifact.path:
                yield Use(block, "exact", "", "")
        yield from self._through(artifact)
        if artifact.md5.endswith(DIR):
            yield from self._inner(artifact)

    def _through(self, artifact: Artifact) -> Iterator[Use]:
        """The runs that read a folder above an artifact that was in it then: judged where both stand in a dvc.lock."""
        makers = self.blocks[artifact_id(artifact)]
        documents = {document for number in makers for document in self.past.locks.get(number, ())}
        above = set(_above(artifact.path))
        found: dict[Block, Use] = {}
        for document in sorted(documents):
            for reader in self.reading.get(document, ()):
                if reader.artifact.path not in above or (reader in found and found[reader].how == "folder"):
                    continue
                link = self._link(document, reader)
                if link and any((made.out.path, made.out.md5) == (artifact.path, artifact.md5) for made in link.made):
                    note = "" if link.how == "folder" else link.note
                    found[reader] = Use(reader, link.how, reader.artifact.path, note)
        yield from found.values()

    def _link(self, document: int, reader: Block) -> Link | None:
        key = (document, reader)
        if key not in self.links:
            revision = self.past.revision(document)
            self.links[key] = self.linker.within(revision, reader.artifact) if revision else None
        return self.links[key]

    def _inner(self, artifact: Artifact) -> Iterator[Use]:
        """The runs that read a file of a folder."""
        below = self.past.below(artifact.path)
        members = dict(self.linker.listing(artifact.md5) or ()) if below else {}
        for block in below:
            if members.get(block.artifact.path[len(artifact.path) + 1 :]) == block.artifact.md5:
                yield Use(block, "member", block.artifact.path, "")

    def _of_source(self, source: Artifact) -> Iterator[Use]:
        """The runs that read what no stage makes, code above all: as it is, or within a folder that git tracks."""
        for block in self.past.used(source.md5):
            if block.artifact.path == source.path:
                yield Use(block, "exact", "", "")
        for folder in _above(source.path):
            read = self.readers.get(folder, [])
            versions = _versions(self.linker, folder, {block.artifact.md5 for block in read})
            inner = source.path[len(folder) + 1 :]
            for block in read:
                files = versions.get(block.artifact.md5, [])
                if Member(inner, source.md5) in files or subfolder(files, inner, source):
                    yield Use(block, "folder", folder, "")
            unknown = {block.artifact.md5 for block in read} - versions.keys()
            if unknown:
                self.notes.append(
                    f"{len(unknown)} version{'s' if len(unknown) > 1 else ''} of {folder} that runs read are neither in"
                    f" git nor in the cache: whether they held {inner} is not known"
                )


def _versions(linker: Linker, folder: str, wanted: set[str]) -> dict[str, list[Member]]:
    """MD5 → files of versions of a folder: as the cache lists them, else as git has them in any commit."""
    found = {md5: files for md5 in wanted if (files := linker.listing(md5)) is not None}
    past = linker.past
    seen: set[str] = set()
    if past.current is not None and not wanted <= found.keys():
        files = past.current.members(folder)
        found[listing_md5(files)] = files
    for commit in reversed(past.commits()):
        if wanted <= found.keys() or len(seen) > MOST_VERSIONS:
            break
        at = repository.resolve(past.repo, commit)
        tree = repository.tree_of(past.repo, at).id(folder)
        if tree is not None and tree not in seen:
            seen.add(tree)
            files = of_commit(past.repo, at).members(folder)
            found[listing_md5(files)] = files
    return found


def _counted(held: Held) -> Iterator[str]:
    """Words for the commits that are not counted, and for those that perhaps should not be."""
    if held.stale:
        yield (
            f"not counted: {held.stale} more commit{'s' if held.stale > 1 else ''} whose dvc.lock keeps entries of"
            " stages that its dvc.yaml no longer has"
        )
    if held.unsure:
        yield (
            f"{held.unsure} of the commits are counted by dvc.lock alone: their dvc.yaml does not say whether it still"
            " has these stages"
        )


def _above(path: str) -> list[str]:
    """The folders that a path lies in.

    >>> _above("data/raw/a.csv")
    ['data', 'data/raw']
    """
    parts = path.split("/")
    return ["/".join(parts[:length]) for length in range(1, len(parts))]


def _files(linker: Linker, folder: Artifact, member: str) -> frozenset[tuple[str, str]] | None:
    """(path, MD5) of a file of a folder, or of all files in a folder within it; None where that is not known."""
    members = linker.listing(folder.md5)
    if members is None:
        return None
    return frozenset((path, md5) for path, md5 in members if path == member or path.startswith(f"{member}/")) or None
