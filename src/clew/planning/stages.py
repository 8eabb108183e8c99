"""Which stages `dvc repro` would run, and why: dvc.yaml, params.yaml and the files that lie here, beside dvc.lock.

    sft     runs      sft.lora.rank: 8 → 16
    align   runs      sft before it runs
    split   is kept   nothing changed
    select  is back   data/selected.parquet is missing, and DVC's cache has it

A stage has a reason of its own exactly where `dvc status` names it. Those after it are told as running, too; DVC keeps
one of them after all where what it reads comes out with the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from clew.errors import SetupError
from clew.history import blocks, documents, lockfile, repository
from clew.history.compare import graph
from clew.history.documents import Declared, Unreadable
from clew.history.lockfile import Artifact, Stage
from clew.history.store import DIR, Member, Store, open_store
from clew.lineage import provenance
from clew.lineage.revision import Revision, listing_md5, of, of_commit
from clew.planning.digests import Digests

Kind = Literal["never run", "command", "param", "dep", "code", "out", "always", "upstream"]
NOTHING = object()
CODE = (".py", ".pyi", ".sh", ".r", ".jl", ".lock")
"""How files end that say what to do."""


class Reason(NamedTuple):
    """what: the param, file or stage. before, after: of a param its values, of a file a word for each."""

    kind: Kind
    what: str
    before: Any = None
    after: Any = None


class Planned(NamedTuple):
    """fate: `runs`, `kept`, or `restored` (its outs come from DVC's cache). reasons: why not kept."""

    name: str
    fate: Literal["runs", "kept", "restored"]
    reasons: tuple[Reason, ...]


def _read(root: Path, name: str, parse: Callable[[str], Any], fix: str, *, needed: bool) -> Any:
    try:
        return parse((root / name).read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        if not needed:
            return parse("")
        raise SetupError("the file does not exist", where=name, fix=fix) from None
    except (OSError, Unreadable, lockfile.LockError) as error:
        raise SetupError(f"it cannot be read: {error}", where=name, fix=fix) from None


def _artifacts(names: Sequence[str]) -> tuple[Artifact, ...]:
    return tuple(Artifact(name, "", None, None) for name in names)


class Pipeline:
    """dvc.yaml and dvc.lock of a repository, and the files that lie there."""

    def __init__(self, root: Path) -> None:
        """Raises SetupError where a file of DVC cannot be read."""
        self.root = root
        here = "Run clew in the root of an experiment's repository."
        values = _read(root, documents.PARAMS, documents.params, here, needed=True)
        self.declared: dict[str, Declared] = _read(
            root, documents.PIPELINE, lambda text: documents.stages(text, values), here, needed=True
        )
        merge = "End the merge: take one side's dvc.lock, then run `dvc repro`."
        self.locked: dict[str, Stage] = _read(root, documents.LOCK, lockfile.read, merge, needed=False)
        self.store: Store = open_store(root)
        self.digests = Digests(root)
        self.restored: dict[str, Artifact] = {}  # outs that come back from the cache, by path
        self.trees: dict[str, Any] = {}
        self.drawn = {
            name: Stage("", _artifacts(one.deps), _artifacts(one.outs), "") for name, one in self.declared.items()
        }
        self.outs = graph.Outs(self.drawn)

    def stages(self) -> list[Planned]:
        """Every stage of dvc.yaml, those that feed others first."""
        order, above = self._order()
        found: dict[str, Planned] = {}
        for name in order:
            reasons = tuple(self._reasons(name, self.declared[name]))
            running = [one for one in above[name] if found[one].fate == "runs"]
            if running and not self.declared[name].frozen:
                reasons = (*reasons, Reason("upstream", _nearest(running, above)))
                found[name] = Planned(name, "runs", reasons)
            elif reasons and self._comes_back(name, reasons):
                self.restored |= {out.path: out for out in self.locked[name].outs}
                found[name] = Planned(name, "restored", reasons)
            else:
                found[name] = Planned(name, "runs" if reasons else "kept", reasons)
        self.digests.keep()
        return list(found.values())

    def _order(self) -> tuple[list[str], dict[str, list[str]]]:
        """The stages, those that feed others first, and of each those that feed it."""
        feeds = graph.links(self.drawn)
        above: dict[str, list[str]] = {name: [] for name in self.drawn}
        for name, links in feeds.items():
            for reader in dict.fromkeys(link.reader for link in links):
                above[reader].append(name)
        return list(graph.ordered(self.drawn, feeds)), above

    def _reasons(self, name: str, declared: Declared) -> Iterator[Reason]:
        """Why `dvc status` names the stage."""
        stage = self.locked.get(name)
        if stage is None:
            yield Reason("never run", name)
            return
        if " ".join(stage.cmd.split()) != " ".join(declared.cmd.split()):
            yield Reason("command", name, stage.cmd, declared.cmd)
        if not declared.frozen:
            yield from self._params(stage, declared)
            yield from self._deps(stage, declared)
        yield from self._outs(stage, declared)
        if declared.always or not (declared.deps or declared.params):
            yield Reason("always", name)

    def _params(self, stage: Stage, declared: Declared) -> Iterator[Reason]:
        ran = blocks.load(stage.params) if stage.params else {}
        for file, name in declared.params:
            before, after = _at(ran.get(file) or {}, name, whole=True), _at(self._tree(file), name)
            if before is after or before == after:
                continue
            prefix = name or file
            if isinstance(before, Mapping) and isinstance(after, Mapping):
                was, now = (documents.flat(tree, f"{name}." if name else "") for tree in (before, after))
                differing = [
                    one
                    for one in {**was, **now}
                    if was.get(one, NOTHING) != now.get(one, NOTHING)
                    and not (_grew(one, was, now) or _grew(one, now, was))
                ]
                for one in differing or [prefix]:
                    yield Reason("param", one, _told(was.get(one, NOTHING)), _told(now.get(one, NOTHING)))
            else:
                yield Reason("param", prefix, _told(before), _told(after))

    def _tree(self, file: str) -> Any:
        if file not in self.trees:
            try:
                self.trees[file] = blocks.load((self.root / file).read_text(encoding="utf-8")) or {}
            except (OSError, blocks.NotYaml):
                self.trees[file] = {}
        return self.trees[file]

    def _deps(self, stage: Stage, declared: Declared) -> Iterator[Reason]:
        ran = {dep.path: dep for dep in stage.deps}
        for path in declared.deps:
            made = any(self.outs.touching(path))
            kind: Kind = "code" if not made and self._is_code(path) else "dep"
            now = self.digests.md5(path)
            if path not in ran:
                yield Reason(kind, path, "none", "new")
            elif now is None:
                yield Reason(kind, path, "there", "missing")
            elif now != ran[path].md5:
                for changed in ([] if made else self._changed_files(ran[path])) or [path]:
                    yield Reason(kind, changed, ran[path].md5, now)

    def _is_code(self, path: str) -> bool:
        names = [path, *(member.path for member in self.digests.members(path))]
        return any(name.lower().endswith(CODE) for name in names)

    def _changed_files(self, dep: Artifact) -> list[str]:
        """The files of a folder that are not as the run read them, as far as git has that version."""
        if not dep.md5.endswith(DIR):
            return []
        was = self._version(dep)
        now = {member.path: member.md5 for member in self.digests.members(dep.path)}
        return [
            f"{dep.path}/{name}" for name in sorted(was.keys() | now.keys()) if was and was.get(name) != now.get(name)
        ]

    def _version(self, dep: Artifact) -> dict[str, str]:
        """File → MD5 of the folder that the run read; {} where no commit has it."""
        repo = repository.open_repository(self.root)
        head = repository.head(repo)
        if head is None:
            return {}
        revision: Revision = of(repo, head)
        if revision.digest(dep.path) != dep.md5:
            told = provenance.code(repo, revision, dep, None, head)
            if "commit" not in told:
                return {}
            revision = of_commit(repo, repository.resolve(repo, told["commit"]))
        return {member.path: member.md5 for member in revision.members(dep.path)}

    def _outs(self, stage: Stage, declared: Declared) -> Iterator[Reason]:
        made = {out.path: out for out in stage.outs}
        for path in declared.outs:
            now = self.digests.md5(path)
            if path not in made:
                yield Reason("out", path, "none", "new")
            elif now is None:
                yield Reason("out", path, "there", "missing")
            elif now != made[path].md5:
                yield Reason("out", path, "as made", "changed by another hand")
            elif path not in declared.uncached and not self._is_cached(made[path]):
                yield Reason("out", path, "there", "not in DVC's cache")

    def _is_cached(self, out: Artifact) -> bool:
        if self.store.find(out.md5) is None:
            return False
        return not out.md5.endswith(DIR) or all(self.store.find(one.md5) for one in self.store.members(out.md5) or ())

    def _comes_back(self, name: str, reasons: Sequence[Reason]) -> bool:
        """Whether DVC brings the stage's outs from its cache, because what it reads is, or will be, as it was."""
        declared, stage = self.declared[name], self.locked.get(name)
        if stage is None or any(reason.kind not in ("dep", "out") for reason in reasons):
            return False
        ran, made = ({one.path: one for one in of} for of in (stage.deps, stage.outs))
        deps = [reason.what for reason in reasons if reason.kind == "dep"]
        if any(path not in ran or self._once_restored(path) != ran[path].md5 for path in deps):
            return False
        return all(
            path in made
            and (self.digests.md5(path) == made[path].md5 if path in declared.uncached else self._is_cached(made[path]))
            for path in declared.outs
        )

    def _once_restored(self, path: str) -> str | None:
        """The MD5 of a dep once the outs before it are back."""
        if path in self.restored:
            return self.restored[path].md5
        back = {place: out for place, out in self.restored.items() if place.startswith(f"{path}/")}
        if not back:
            return self.digests.md5(path)
        inside = [place.removeprefix(f"{path}/") for place in back]
        kept = [
            one
            for one in self.digests.members(path)
            if not any(one.path == i or one.path.startswith(f"{i}/") for i in inside)
        ]
        for place, out in back.items():
            name = place.removeprefix(f"{path}/")
            if out.md5.endswith(DIR):
                kept += [Member(f"{name}/{one.path}", one.md5) for one in self.store.members(out.md5) or ()]
            else:
                kept.append(Member(name, out.md5))
        return listing_md5(kept)


def _nearest(running: Sequence[str], above: Mapping[str, Sequence[str]]) -> str:
    """Of the stages before one that run, the last: one that feeds no other of them."""
    return next((one for one in reversed(running) if not any(one in above[other] for other in running)), running[-1])


def _at(tree: Any, name: str | None, *, whole: bool = False) -> Any:
    """A value by its dotted name; dvc.lock keeps it under the `whole` name."""
    if name is None:
        return tree
    if whole:
        return tree.get(name, NOTHING)
    for part in name.split("."):
        if not isinstance(tree, Mapping) or part not in tree:
            return NOTHING
        tree = tree[part]
    return tree


def _grew(name: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a null became a section, whose own values tell it."""
    return one.get(name, NOTHING) is None and any(key.startswith(f"{name}.") for key in other)


def _told(value: Any) -> Any:
    return "(not set)" if value is NOTHING else value
