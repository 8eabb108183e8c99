"""dvc.lock, read stage by stage: what each stage was run with and what it made.

    stages:
      sft:
        cmd: clew stage sft
        deps:
        - path: data/train.parquet          Stage(cmd="clew stage sft",
          hash: md5                            deps=(Artifact("data/train.parquet", "d41d…", 18034, None), …),
          md5: d41d8cd98f00b204e9800998ecf8427e
          size: 18034                          outs=…, params="params.yaml:\\n  sft:\\n    epochs: 1\\n …")
        params:
          params.yaml: …

The block of a stage that did not run again stands in the next commit's lock letter by letter: readers key what they
keep by its text (`cut`). Blocks in DVC's own plain form are read line by line here, others by ruamel.yaml.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from clew.history import blocks

MARKER = re.compile(r"^(?:<{7} |={7}$|>{7} )", re.MULTILINE)
ALIAS = re.compile(r"[:-] [*&]\w")
"""A value that stands elsewhere: its block cannot be read alone."""
HEAD = re.compile(r"schema: '?2\.0'?\nstages:\n")
NAME = re.compile(r"  (?P<name>[A-Za-z0-9_][\w@./-]*):")
DIGEST = r"[0-9a-f]{32}(?:\.dir)?"
ARTIFACT = re.compile(
    rf"- path: (?P<path>[\w./@+-]+)\n  hash: md5\n  md5: (?P<md5>{DIGEST})\n"
    r"(?:  size: (?P<size>\d+)\n)?(?:  nfiles: (?P<nfiles>\d+)\n)?(?:  isexec: true\n)?"
)
BLOCK = re.compile(
    r"cmd: (?P<cmd>[^\s'\"|>&*!%@`{\[?#-][^\n#]*)\n"
    rf"(?:deps:\n(?P<deps>(?:{re.sub('[?]P<[a-z0-9]+>', '?:', ARTIFACT.pattern)})+))?"
    r"(?:params:\n(?P<params>(?:  [^\n]*\n)+))?"
    rf"(?:outs:\n(?P<outs>(?:{re.sub('[?]P<[a-z0-9]+>', '?:', ARTIFACT.pattern)})+))?"
)


class LockError(Exception):
    """A dvc.lock that cannot be read; the message says why."""


class Artifact(NamedTuple):
    """A file or folder as DVC recorded it. md5: with `.dir` at its end for a folder, "" where DVC recorded none."""

    path: str
    md5: str
    size: int | None
    nfiles: int | None


class Stage(NamedTuple):
    """A stage's block. params: the YAML text of file → key → value that the stage was run with."""

    cmd: str
    deps: tuple[Artifact, ...]
    outs: tuple[Artifact, ...]
    params: str


def read(text: str) -> dict[str, Stage]:
    """The stages of a dvc.lock by name; raises LockError."""
    return {name: parse(block) for name, block in cut(text).items()}


def cut(text: str) -> dict[str, str]:
    """Each stage's block by the stage's name, moved to the left margin; raises LockError."""
    if MARKER.search(text):
        raise LockError("it holds conflict markers of a merge")
    head = HEAD.match(text)
    if head is None or ALIAS.search(text):
        return _cut_by_ruamel(text)
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text[head.end() :].split("\n"):
        if line.startswith("    "):
            lines.append(line[4:])
        elif match := NAME.fullmatch(line):
            if match["name"] in found:
                raise LockError(f"stage {match['name']} stands in it twice")
            found[match["name"]] = lines = []
        elif line:
            return _cut_by_ruamel(text)
    return {name: "".join(f"{line}\n" for line in lines) for name, lines in found.items()}


def parse(block: str) -> Stage:
    """A stage's block; raises LockError."""
    match = BLOCK.fullmatch(block)
    if match is None or blocks.STRANGE.search(block):
        return _stage(_loaded(block))
    params = (match["params"] or "").replace("\n  ", "\n").removeprefix("  ")
    return Stage(match["cmd"].strip(), _artifacts(match["deps"]), _artifacts(match["outs"]), params)


def _artifacts(text: str | None) -> tuple[Artifact, ...]:
    return tuple(
        Artifact(path, md5, int(size) if size else None, int(nfiles) if nfiles else None)
        for path, md5, size, nfiles in ARTIFACT.findall(text or "")
    )


def _stage(tree: Mapping[str, Any]) -> Stage:
    """The same from what ruamel read: digests of other kinds (etag, checksum) are taken, too."""
    cmd = tree.get("cmd") or ""
    return Stage(
        " && ".join(map(str, cmd)) if isinstance(cmd, list) else str(cmd),
        tuple(_artifact(entry) for entry in tree.get("deps") or ()),
        tuple(_artifact(entry) for entry in tree.get("outs") or ()),
        _dumped(tree["params"]) if tree.get("params") else "",
    )


def _artifact(entry: Any) -> Artifact:
    if not isinstance(entry, Mapping) or "path" not in entry:
        raise LockError(f"an entry without a path: {str(entry)[:80]}")
    digest = next((str(entry[name]) for name in ("md5", "etag", "checksum") if entry.get(name)), "")
    return Artifact(str(entry["path"]), digest, entry.get("size"), entry.get("nfiles"))


def _loaded(text: str) -> Mapping[str, Any]:
    from ruamel.yaml.error import YAMLError

    try:
        tree = blocks.by_ruamel(text)
    except YAMLError as error:
        raise LockError(f"it is not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(tree, Mapping):
        raise LockError("it is not a mapping")
    return tree


def _cut_by_ruamel(text: str) -> dict[str, str]:
    tree = _loaded(text) if text.strip() else {"schema": "2.0", "stages": {}}
    stages: Any = tree.get("stages") or {}
    if str(tree.get("schema")) != "2.0" or not isinstance(stages, Mapping):
        raise LockError(f"its schema is {tree.get('schema', 'not named')}, and 2.0 is the one that is read")
    return {str(name): _dumped(block) for name, block in stages.items()}


def _dumped(tree: Any) -> str:
    import io

    from ruamel.yaml import YAML

    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    out = io.StringIO()
    yaml.dump(tree, out)
    return out.getvalue()
