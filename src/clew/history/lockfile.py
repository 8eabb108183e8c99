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
    r"(?:  size: (?P<size>\d{1,18})\n)?(?:  nfiles: (?P<nfiles>\d{1,18})\n)?(?:  isexec: true\n)?"
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
    return Stage(match["cmd"].strip(" "), _artifacts(match["deps"]), _artifacts(match["outs"]), params)


def _artifacts(text: str | None) -> tuple[Artifact, ...]:
    return tuple(
        Artifact(path, md5, int(size) if size else None, int(nfiles) if nfiles else None)
        for path, md5, size, nfiles in ARTIFACT.findall(text or "")
    )


def _stage(tree: Mapping[Any, Any]) -> Stage:
    """The same from what ruamel read: digests of other kinds (etag, checksum) are taken, too."""
    cmd = tree.get("cmd") or ""
    return Stage(
        " && ".join(_word(one, "cmd") for one in cmd) if isinstance(cmd, list) else _word(cmd, "cmd"),
        tuple(_artifact(entry) for entry in _list(tree, "deps")),
        tuple(_artifact(entry) for entry in _list(tree, "outs")),
        _dumped(tree["params"]) if tree.get("params") else "",
    )


def _list(tree: Mapping[Any, Any], name: str) -> list[Any]:
    found = tree.get(name) or []
    if not isinstance(found, list):
        raise LockError(f"{name} of a stage is not a list")
    return found


def _artifact(entry: Any) -> Artifact:
    if not isinstance(entry, Mapping) or "path" not in entry:
        raise LockError("an entry without a path")
    path = _word(entry["path"], "path")
    digest = next((_word(entry[name], name) for name in ("md5", "etag", "checksum") if entry.get(name)), "")
    return Artifact(path, digest, _number(entry, "size", path), _number(entry, "nfiles", path))


def _word(value: Any, what: str) -> str:
    if not isinstance(value, (str, int, float)) or (isinstance(value, int) and value.bit_length() > 63):
        raise LockError(f"a {what} that is not a text")
    return blocks.whole(str(value))


def _number(entry: Mapping[Any, Any], name: str, path: str) -> int | None:
    value = entry.get(name)
    if value is not None and (not isinstance(value, int) or value.bit_length() > 63):
        raise LockError(f"{name} of {path} is not a number")
    return value


def _loaded(text: str) -> Mapping[Any, Any]:
    try:
        tree = blocks.by_ruamel(text)
    except RecursionError:
        raise LockError("it is nested too deeply") from None
    except Exception as error:  # ruamel has many
        raise LockError(f"it is not YAML: {(str(error).splitlines() or ['?'])[0]}") from None
    if not isinstance(tree, Mapping):
        raise LockError("it is not a mapping")
    return tree


def _cut_by_ruamel(text: str) -> dict[str, str]:
    tree = _loaded(text) if text.strip() else {"schema": "2.0", "stages": {}}
    stages: Any = tree.get("stages") or {}
    if str(tree.get("schema")) != "2.0" or not isinstance(stages, Mapping):
        raise LockError(f"its schema is {tree.get('schema', 'not named')}, and 2.0 is the one that is read")
    return {blocks.whole(str(name)): _dumped(block) for name, block in stages.items()}


def _dumped(tree: Any) -> str:
    import io

    from ruamel.yaml import YAML

    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    out = io.StringIO()
    try:
        yaml.dump(tree, out)
    except RecursionError:
        raise LockError("it is nested too deeply") from None
    return out.getvalue()
