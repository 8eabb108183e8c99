"""A thing that is known by its bytes alone: an MD5, a SHA-256, or a file or folder that somebody handed over.

DVC knows MD5s: dvc.lock has them of what stages read and made, and the cache of every file in a folder. SHA-256s stand
in the runtime records (of what a run made) and in params (of what was fetched). Where nothing is found, the answer
says where it was looked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from clew import paths
from clew.errors import HistoryError
from clew.history import repository
from clew.history.lockfile import Artifact
from clew.history.store import DIR, Member
from clew.lineage import files_of_row, provenance
from clew.lineage.graph import Linker
from clew.lineage.past import Block
from clew.lineage.revision import Revision, edge, listing_md5
from clew.lineage.thing import Root, Thing

MOST_FILES = 100_000
"""Files of a folder that are hashed."""


def by_digest(linker: Linker, where: Revision, asked: str, *, down: bool, thorough: bool) -> Thing:
    """What has this MD5 or SHA-256; raises HistoryError that says where it was looked."""
    digest = asked.removeprefix("sha256:").lower()
    looked: list[str] = []
    if len(digest.removesuffix(DIR)) == 32:
        roots = _of_md5(linker, where, digest, looked)
        return _found(asked, where, roots, looked, {"md5": digest}, [], shallow=edge(linker.past.repo))
    notes: list[str] = []
    roots = _of_sha256(linker, where, digest, looked, notes, thorough=thorough)
    row = None if roots else files_of_row.by_id(linker, where, digest, looked, down=down)
    return row or _found(asked, where, roots, looked, {"sha256": digest}, notes, shallow=edge(linker.past.repo))


def by_beginning(linker: Linker, where: Revision, prefix: str, *, down: bool, thorough: bool) -> Thing:
    """What has the one MD5, or is the one row, that begins so; raises HistoryError where there is none, or are more."""
    known = linker.past.beginning(prefix)
    outs = {block.artifact.md5 for block in linker.past.folders_made} | {made.out.md5 for made in where.made}
    known |= {made.out.md5.removesuffix(DIR) for made in where.made if made.out.md5.startswith(prefix)}
    known |= {md5 for out in outs for _name, md5 in linker.listing(out) or () if md5.startswith(prefix)}
    if len(known) > 1:
        some = ", ".join(one[: len(prefix) + 4] for one in sorted(known)[:5])
        raise HistoryError(f"{len(known)} MD5s begin so", where=prefix, fix=f"Name more digits: {some} …")
    if known:
        return by_digest(linker, where, known.pop(), down=down, thorough=thorough)
    looked = ["MD5s of every dvc.lock", "listings of the folders in the cache"]
    row = files_of_row.by_id(linker, where, prefix, looked, down=down)
    return row or _found(prefix, where, [], looked, {}, [], shallow=edge(linker.past.repo))


def by_file(linker: Linker, where: Revision, path: Path, *, thorough: bool) -> Thing:
    """What a file or folder on disk is; raises HistoryError where its bytes stand nowhere in the history."""
    try:
        md5, sha256, members = _digests(path)
    except OSError as error:
        said = error.strerror or "it cannot be read"
        raise HistoryError(said, where=str(error.filename or path), fix="Name a file that can be read.") from None
    facts = {"file": str(path), "md5": md5, "sha256": sha256}
    looked: list[str] = []
    notes: list[str] = []
    roots = _of_md5(linker, where, md5, looked) or _of_sha256(linker, where, sha256, looked, notes, thorough=thorough)
    likest = _likest(linker, members) if not roots else ""
    thing = _found(str(path), where, roots, looked, facts, notes, likest, shallow=edge(linker.past.repo))
    thing.kind = "file"
    return thing


def _digests(path: Path) -> tuple[str, str, list[Member]]:
    """MD5 and SHA-256 of a file or folder, and the folder's files."""
    if not path.is_dir():
        return *provenance.both_digests(path), []
    files = list(islice((file for file in path.rglob("*") if file.is_file()), MOST_FILES + 1))
    if len(files) > MOST_FILES:
        raise HistoryError(f"more than {MOST_FILES:,} files", where=str(path), fix="Name something in that folder.")
    hashed = {
        name: provenance.both_digests(path / name) for name in sorted(f.relative_to(path).as_posix() for f in files)
    }
    members = [Member(name, md5) for name, (md5, _sha256) in hashed.items()]
    listing = "".join(f"{sha256}  {name}\n" for name, (_md5, sha256) in hashed.items())
    return listing_md5(members), hashlib.sha256(listing.encode()).hexdigest(), members


def _found(
    asked: str,
    where: Revision,
    roots: list[Root],
    looked: list[str],
    facts: dict[str, Any],
    notes: list[str],
    likest: str = "",
    *,
    shallow: str = "",
) -> Thing:
    """The thing with its roots; raises HistoryError where there are none."""
    if not roots:
        digests = ", ".join(f"{name} {value}" for name, value in facts.items() if name in ("md5", "sha256"))
        raise HistoryError(
            f"no such bytes in the history{f' ({digests})' if 'file' in facts else ''}",
            where=asked,
            fix=likest + "Looked in: " + "; ".join(looked) + (f". But {shallow}." if shallow else "."),
        )
    if len({root.artifact.path for root in roots}) > 1:
        notes.append("the same bytes lie at several paths: " + ", ".join(sorted({r.artifact.path for r in roots})))
    commits = sorted({root.revision.name for root in roots if root.revision is not where})
    if commits:
        notes.append(f"not in {where.name}, but in {', '.join(commits)}")
    return Thing(asked, "digest", where, roots, facts, notes)


def _of_md5(linker: Linker, where: Revision, md5: str, looked: list[str]) -> list[Root]:
    wanted = [md5] if md5.endswith(DIR) else [md5, md5 + DIR]
    looked.append("MD5s of every dvc.lock")
    here = [made for made in where.made if made.out.md5 in wanted]
    if here:
        at_path = {path: [made for made in here if made.out.path == path] for path in (made.out.path for made in here)}
        return [Root(where, best.stage, best.out) for some in at_path.values() for best in where.live(some)[:1]]
    made = [block for one in wanted for block in linker.past.made(one)]
    if made:
        return _newest(linker, made, "")
    read = [block for one in wanted for block in linker.past.used(one)]
    if read:
        return [root._replace(stage="") for root in _newest(linker, read, "")]
    return _of_member(linker, where, md5, looked)


def _newest(linker: Linker, found: list[Block], member: str, md5: str = "") -> list[Root]:
    """One root a path, in the newest revision that has it."""
    roots: dict[str, Root] = {}
    for block in found:
        for revision in linker.past.revisions([block.number])[-1:]:
            root = Root(revision, block.stage, block.artifact, member, md5)
            if block.artifact.path not in roots or revision.declared(block.stage) is not False:
                roots[block.artifact.path] = root
    return list(roots.values())


def _of_member(linker: Linker, where: Revision, md5: str, looked: list[str]) -> list[Root]:
    """Folders that hold a file of this MD5: those of the revision, else the newest."""
    roots: dict[tuple[str, str], Root] = {}
    here = {(made.out.path, made.out.md5): made.stage for made in where.made}
    missing = 0
    folders = {(block.artifact.path, block.artifact.md5): block for block in linker.past.folders_made}
    for key in {**folders, **here}:
        members = linker.listing(key[1])
        missing += members is None and key[1].endswith(DIR)
        for path in [name for name, digest in members or () if digest == md5]:
            if key in here:
                artifact = next(m.out for m in where.made if (m.out.path, m.out.md5) == key)
                roots[key[0], path] = Root(where, here[key], artifact, path, md5)
            elif (key[0], path) not in roots:
                for root in _newest(linker, [folders[key]], path, md5):
                    roots[key[0], path] = root
    looked.append("listings of the folders in the cache" + (f" ({missing} are not in it)" if missing else ""))
    return [root for root in roots.values() if root.revision is where] or list(roots.values())


def _of_sha256(
    linker: Linker, where: Revision, sha256: str, looked: list[str], notes: list[str], *, thorough: bool
) -> list[Root]:
    looked.append(f"{paths.RUNTIME}/*.json of every commit")
    for revision, path in _recorded(linker, where, sha256):
        made = [one for one in revision.made if one.out.path == path]
        if made:
            notes.append(f"known by the SHA-256 that {paths.RUNTIME.as_posix()} of {revision.name} records")
            best = revision.live(made)[0]
            return [Root(revision, best.stage, best.out)]
    looked.append("SHA-256s that params declare")
    declared = _declared(linker, where, sha256)
    if declared:
        notes.append("known by the SHA-256 that params declare of what is fetched")
        return declared
    if not thorough:
        looked.append("but not in the cache's files themselves (--hash reads them all)")
        return []
    looked.append("every file in the cache")
    for file in _cached(linker):
        md5, found = provenance.both_digests(file)
        if found == sha256:
            return _of_md5(linker, where, md5, looked)
    return []


def _recorded(linker: Linker, where: Revision, sha256: str) -> Iterator[tuple[Revision, str]]:
    """(revision, path) of runtime records that name the digest: the revision asked, then all, newest first."""
    for name in where.files.below(paths.RUNTIME.as_posix()):
        yield from ((where, path) for path in _names(where.files.content(name), sha256))
    repo, seen = linker.past.repo, set()
    for commit in reversed(linker.past.commits()):
        tree = repository.tree_of(repo, repository.resolve(repo, commit))
        for blob in tree.files(paths.RUNTIME.as_posix()).values():
            if blob not in seen:
                seen.add(blob)
                for path in _names(tree.content(blob), sha256):
                    yield linker.past.of_commit(commit), path


def _names(content: bytes | None, sha256: str) -> list[str]:
    """The outs of a record that have a digest."""
    if content is None or sha256.encode() not in content:
        return []
    try:
        return [path for path, digest in json.loads(content)["outs"].items() if digest == sha256]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def _declared(linker: Linker, where: Revision, sha256: str) -> list[Root]:
    """The outs of runs whose params declare the digest; of one source among several, that source's files."""
    here = [(where, name) for name, stage in where.stages.items() if sha256 in stage.params]
    found = here or [
        (revision, stage)
        for number, stage in linker.past.naming(sha256)
        for revision in linker.past.revisions([number])[-1:]
    ]
    roots = []
    for revision, stage in found:
        block = revision.stages[stage]
        fetched = provenance.origins(stage, provenance.params(block))
        for name in [one["name"] for one in fetched if one["sha256"] == sha256]:
            roots += [Root(revision, stage, out, name if _has(linker, out, name) else "") for out in block.outs]
    return list({(root.artifact.path, root.artifact.md5): root for root in roots}.values())


def _has(linker: Linker, out: Artifact, folder: str) -> bool:
    return any(name.startswith(f"{folder}/") for name, _md5 in linker.listing(out.md5) or ())


def _cached(linker: Linker) -> Iterator[Path]:
    for folder in linker.store.folders:
        yield from sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.endswith(DIR))


def _likest(linker: Linker, members: list[Member]) -> str:
    """The folder of the history that shares most files with one that was handed over, and which differ."""
    best: tuple[int, str] = (0, "")
    for block in linker.past.folders_made:
        listed = set(linker.listing(block.artifact.md5) or ())
        shared = len(listed & set(members))
        if shared > best[0]:
            differ = sorted({name for name, _md5 in listed ^ set(members)})
            words = ", ".join(differ[:5]) + (" …" if len(differ) > 5 else "")
            best = shared, f"The likest is {block.artifact.path}: {shared} files are the same, not so: {words}. "
    return best[1]
