"""What is asked for: a path, a file within one, a number, a row, a digest, or a file that somebody handed over.

models/aligned                        what a stage made             metrics/quality.json:stress.f1@aligned
models/aligned/model.safetensors      a file within it              metrics/quality.json:aligned.stress.f1.value
sft                                   all that a stage made         data/raw/dreaddit/dreaddit_training.csv
f3d5207183706e490b03fde028b2fa80      an MD5, or a SHA-256          /tmp/handed/model.safetensors
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from clew.errors import HistoryError
from clew.history import blocks, documents
from clew.history.lockfile import Artifact
from clew.lineage import provenance
from clew.lineage import revision as revisions
from clew.lineage.graph import Linker
from clew.lineage.revision import Revision, edge

if TYPE_CHECKING:
    from clew.history.git import Repository

DIGEST = re.compile(r"(?P<md5>[0-9a-fA-F]{32}(?:\.dir)?)|(?P<sha256>(?:sha256:)?[0-9a-fA-F]{64})")
BEGINNING = re.compile(r"[0-9a-fA-F]{8,63}")
LONGEST = 1000
"""Signs of what may be asked for."""
HIDDEN = (".git", ".dvc", ".clew")
METRIC = re.compile(r"(?P<path>[^:]+\.(?:json|yaml|yml)):(?P<name>.+)")
MEASURE = ("value", "low", "high", "n", "reason")


class Root(NamedTuple):
    """Where a trace starts. stage: "" where none made it. member: the file within the artifact that was asked for."""

    revision: Revision
    stage: str
    artifact: Artifact
    member: str = ""
    member_md5: str = ""

    def run_of(self, stage: str) -> bool:
        """Whether a stage is the one that made it."""
        return self.stage == stage


@dataclass
class Thing:
    """kind: path, metric, row, digest, file (on disk). facts: of the number, or of the file that was handed over."""

    asked: str
    kind: str
    revision: Revision
    roots: list[Root]
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def resolve(
    repo: Repository,
    linker: Linker,
    folder: Path,
    asked: str,
    rev: str | None,
    *,
    down: bool,
    thorough: bool,
) -> Thing:
    """What `asked` names, asked in `folder`; raises HistoryError with the nearest names where there is no such."""
    if len(asked) > LONGEST:
        raise HistoryError(f"a name of {len(asked):,} signs", where=f"{asked[:60]}…", fix="Name a path or a digest.")
    from clew.lineage import digests

    where = revisions.of(repo, rev)
    if DIGEST.fullmatch(asked):
        return digests.by_digest(linker, where, asked, down=down, thorough=thorough)
    handed, names = _placed(repo, folder, asked)
    if handed is not None:
        return digests.by_file(linker, where, handed, thorough=thorough)
    named = _by_name(repo, linker, where.checked(), asked, names, thorough=thorough)
    if named is not None:
        return named
    if BEGINNING.fullmatch(asked):
        return digests.by_beginning(linker, where, asked.lower(), down=down, thorough=thorough)
    untracked = _untracked(repo, linker, names) if rev is None else None
    if untracked is not None:
        return digests.by_file(linker, where, untracked, thorough=thorough)
    raise _unknown(linker, where, names[-1])


def _by_name(
    repo: Repository, linker: Linker, where: Revision, asked: str, names: list[str], *, thorough: bool
) -> Thing | None:
    """A number or a path, by the first of its names that the revision has; raises HistoryError for no such number."""
    for name in names:
        found = METRIC.fullmatch(name)
        if found and (where.files.below(found["path"]) or at(linker, where, found["path"])):
            return _metric(linker, where, asked, found["path"], found["name"])
    for name in names:
        roots = at(linker, where, name)
        if roots:
            there = _other_there(repo, where, roots, thorough=thorough)
            return Thing(asked, "path", where, roots, notes=[*_stale(where, roots), *_unlisted(linker, roots), *there])
    metric = METRIC.fullmatch(names[-1])
    if metric:
        fix = _nearest(metric["path"], _known(linker, where))
        raise HistoryError(f"there is no {metric['path']}", where=where.name, fix=fix)
    return None


def _untracked(repo: Repository, linker: Linker, names: list[str]) -> Path | None:
    """A file of the work tree that neither git nor any dvc.lock knows."""
    if not repo.workdir or any(linker.past.at(name) for name in names):
        return None
    files = [Path(repo.workdir) / name for name in names if name.split("/")[0] not in HIDDEN]
    return next((file for file in files if file.exists()), None)


def _placed(repo: Repository, folder: Path, asked: str) -> tuple[Path | None, list[str]]:
    """A file outside of the repository, or the names from its root that are meant: from here, then from the root."""
    root = Path(repo.workdir).resolve() if repo.workdir else None
    try:
        given = Path(asked).expanduser()
        full = (folder / given).resolve()
        there = full.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise HistoryError(f"no such file ({error})", where=asked, fix="Name a file that exists.") from None
    if there and not full.is_file() and not full.is_dir():
        raise HistoryError("neither a file nor a folder", where=asked, fix="Name a file that can be read to its end.")
    if full != root and (full == Path.home() or Path(repo.path).resolve().is_relative_to(full)):
        raise HistoryError("that folder holds far more than one thing", where=asked, fix="Name something in it.")
    if full == root:
        raise HistoryError("that is the whole repository", where=asked, fix="Name something in it: `models/aligned`.")
    if root is not None and full.is_relative_to(root):
        return None, list(dict.fromkeys([full.relative_to(root).as_posix(), _plain(asked)]))
    if there and not METRIC.fullmatch(asked) and (given.is_absolute() or root is not None):
        return full, []
    if given.is_absolute() or asked.startswith(".."):
        raise HistoryError("no such file", where=asked, fix="Name a file that exists, or a path of the repository.")
    return None, [_plain(asked)]


def _plain(asked: str) -> str:
    return asked.removeprefix("./").rstrip("/")


def at(linker: Linker, where: Revision, path: str) -> list[Root]:
    """The roots at a path of a revision: an out, a file of one, outs below it, a stage's outs, what git keeps."""
    path = path.rstrip("/")
    same = _live(where, [Root(where, made.stage, made.out) for made in where.made if made.out.path == path])
    if same:
        return same
    for made in where.made:
        if path.startswith(f"{made.out.path}/") and made.out.md5.endswith(".dir"):
            inner = path[len(made.out.path) + 1 :]
            members = linker.listing(made.out.md5)
            if members is None:
                return [Root(where, made.stage, made.out, inner)]
            md5 = next((md5 for name, md5 in members if name == inner), "")
            if md5 or any(name.startswith(f"{inner}/") for name, _md5 in members):
                return [Root(where, made.stage, made.out, inner, md5)]
    below = [Root(where, made.stage, made.out) for made in where.made if made.out.path.startswith(f"{path}/")]
    if below:
        return below
    if path in where.stages:
        return [Root(where, path, out) for out in where.stages[path].outs]
    return _kept_by_git(where, path)


def _live(where: Revision, roots: list[Root]) -> list[Root]:
    """Of several entries for one path: those of stages that dvc.yaml still has, if it has any."""
    live = [root for root in roots if where.declared(root.stage) is not False] or roots
    return list({root.artifact.md5: root for root in reversed(live)}.values())[::-1]


def _kept_by_git(where: Revision, path: str) -> list[Root]:
    deps = [dep for stage in where.stages.values() for dep in stage.deps if dep.path == path]
    md5 = where.digest(path) or (deps[0].md5 if deps else "")
    if not md5:
        return []
    size = sum(len(where.files.content(name) or b"") for name in where.files.below(path))
    return [Root(where, "", Artifact(path, md5, size or (deps[0].size if deps else None), None))]


def _stale(where: Revision, roots: Iterable[Root]) -> list[str]:
    """A word for entries of stages that dvc.yaml no longer has."""
    names = sorted({root.stage for root in roots if root.stage and where.declared(root.stage) is False})
    return [
        f"dvc.yaml of {where.name} no longer has the stage {name}: dvc.lock keeps the entry of its last run"
        for name in names
    ]


def _unlisted(linker: Linker, roots: Iterable[Root]) -> list[str]:
    return [
        f"the cache lacks the listing of {root.artifact.path}, so it is not shown that it holds {root.member}"
        for root in roots
        if root.member and linker.listing(root.artifact.md5) is None
    ]


def _other_there(repo: Repository, where: Revision, roots: Iterable[Root], *, thorough: bool) -> Iterator[str]:
    """A word for what lies there and is not what dvc.lock names, and for what is too large to be hashed unasked."""
    for root in [root for root in roots if root.stage]:
        artifact, path = root.artifact, Path(repo.workdir or ".") / root.artifact.path
        other = where.digest(artifact.path) not in (None, artifact.md5)
        same = provenance.same(path, artifact, thorough=thorough) if where.commit is None and path.exists() else True
        if other or same is False:
            yield f"what lies at {artifact.path} in {where.name} is not what {root.stage} made: the thread is of that"
        elif same is None:
            yield f"{artifact.path} in {where.name} has the right size, and is not hashed: --hash does"


def _metric(linker: Linker, where: Revision, asked: str, path: str, name: str) -> Thing:
    """A number of a metrics file, with its interval, and the file as the root."""
    roots = at(linker, where, path)
    content = where.files.content(path)
    if content is None and roots:
        kept = linker.store.verified(roots[0].artifact.md5)
        content = kept.read_bytes() if kept else None
    if content is None:
        raise HistoryError(
            f"{path} is neither in git nor in the cache",
            where=where.name,
            fix="`dvc pull` brings it, if it was pushed.",
        )
    flat = documents.flat(_tree(where, path, content))
    inner, at_sign, variant = name.rpartition("@")
    dotted = f"{variant}.{inner}" if at_sign else name
    values = {key: flat[f"{dotted}.{key}"] for key in MEASURE if f"{dotted}.{key}" in flat}
    if dotted in flat:
        values = {"value": flat[dotted]}
        around = dotted.removesuffix(".value")
        if around != dotted:
            values = {key: flat[f"{around}.{key}"] for key in MEASURE if f"{around}.{key}" in flat}
    if not values:
        raise HistoryError(f"{path} has no `{name}`", where=where.name, fix=_nearest(name, _measures(flat, at_sign)))
    notes = _stale(where, roots)
    if roots and roots[0].stage and where.digest(path) not in (None, roots[0].artifact.md5):
        notes.append(
            f"{path} in {where.name} is another text than {roots[0].stage} made (edited, or merged, since): this number"
            " is not shown to come of the thread below"
        )
    if roots and not roots[0].stage:
        notes.append(f"no stage has {path} as an out: nothing is recorded of how the number came about")
    return Thing(asked, "metric", where, roots, facts={"metric": dotted, **values}, notes=notes)


def _tree(where: Revision, path: str, content: bytes) -> Mapping[str, Any]:
    text = content.decode("utf-8", errors="replace")
    try:
        tree = json.loads(text) if path.endswith(".json") else blocks.load(text)
    except Exception as error:  # ruamel has many
        said = " ".join(str(error).split())[:120]
        raise HistoryError(f"{path} cannot be read: {said}", where=where.name, fix="Run `dvc repro` again.") from None
    if not isinstance(tree, Mapping):
        raise HistoryError(f"{path} holds no named numbers", where=where.name, fix="Name a file of metrics.")
    return tree


def _measures(flat: Mapping[str, Any], at_sign: str) -> list[str]:
    """The names that could have been asked for, in the form that was."""
    names = {name.removesuffix(f".{key}") for name in flat for key in MEASURE if name.endswith(f".{key}")} or set(flat)
    if not at_sign:
        return sorted(names | set(flat))
    return sorted(f"{inner}@{variant}" for variant, _dot, inner in (name.partition(".") for name in names) if inner)


def _known(linker: Linker, where: Revision) -> list[str]:
    """Every path of a revision that can be traced."""
    found = {*where.stages, *linker.past.paths()}
    for stage in where.stages.values():
        found |= {artifact.path for artifact in (*stage.deps, *stage.outs)}
        for out in stage.outs:
            found |= {f"{out.path}/{name}" for name, _md5 in linker.listing(out.md5) or ()}
    return sorted(found)


def _nearest(name: str, names: Iterable[str]) -> str:
    names = list(names)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(f'`{one}`' for one in near)}?"
    return f"There are: {', '.join(names[:8])}{' …' if len(names) > 8 else ''}." if names else "There are none."


def _unknown(linker: Linker, where: Revision, name: str) -> HistoryError:
    ever = linker.past.at(name)
    held = linker.past.held((block.number for block in ever), stale_too=True)
    if held.commits:
        last = held.commits[-1]
        return HistoryError(
            f"there is no {name}",
            where=where.name,
            fix=f"It was last made in {last.id[:10]} ({last.title}): add `--rev {last.id[:10]}`.",
        )
    outer = next((made.out for made in where.made if name.startswith(f"{made.out.path}/")), None)
    members = linker.listing(outer.md5) if outer else None
    if outer is not None and members:
        files = [f"{outer.path}/{path}" for path, _md5 in members]
        return HistoryError(f"{outer.path} holds no such file", where=name, fix=_nearest(name, files))
    fix = _nearest(name, _known(linker, where))
    shallow = edge(linker.past.repo)
    return HistoryError(f"there is no {name}", where=where.name, fix=f"{fix} But {shallow}." if shallow else fix)
