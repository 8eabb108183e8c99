"""YAML as DVC and people write it, read block by block: a block that was read once is never read again.

    sft:                         {"sft": {"epochs": 3, "lora": {"rank": 8}}}
      epochs: 3 # at most
      lora:
        rank: 8

One commit differs from the next by a few lines, and ruamel.yaml, which DVC reads with, takes milliseconds for each
section of a file. So a file is cut at its top-level keys, and a section of plain nested lines, `key: value` or
`- value`, as most are, is read here. A value may be a list or mapping of plain values on one line:

    deps:
    - src/train.py               {"deps": ["src/train.py"],
    params: [seed, sft]           "params": ["seed", "sft"],
    metrics:
      - m.json: {cache: false}    "metrics": [{"m.json": {"cache": False}}]}

Whatever is not plain (anchors, block texts, quoting with escapes, anything over several lines) is ruamel's.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

KEY = r"(?P<key>[A-Za-z_][\w./@-]{0,99}):(?= |$)"
NUMBER = r"(?P<int>-?(?:0|[1-9]\d{0,17}))|(?P<float>-?(?:0|[1-9]\d*)\.\d+(?:[eE][-+]?\d+)?)"
QUOTED = r"\"(?P<double>[^\"\\\n]*)\"|'(?P<single>[^'\n]*)'"
WORD = r"(?P<word>[A-Za-z_/][\w./@+-]*(?: [\w./@+-]+)*)"
TEXT = r"(?P<text>[A-Za-z_/$](?:[^\s:#]|:(?=\S)|(?<! )#| (?=[^ #]))*)"
"""Outside of brackets a text may hold all but `: ` and ` #`."""
ITEM = re.compile(rf" *(?:{KEY} +)?(?:{NUMBER}|{QUOTED}|{WORD}) *(?:,|$)")
BRACKETS = r"\[(?P<list>[^][]*)\]|\{(?P<map>[^{}]*)\}"
LINE = re.compile(rf"(?P<indent> *)(?P<dash>- +)?(?:{KEY} *)?(?:{NUMBER}|{QUOTED}|{BRACKETS}|{TEXT})?(?: +#.*| *)")
EMPTY = re.compile(r" *(?:#.*)?")
TOP = re.compile(r"[A-Za-z_][\w-]*:(?:\s|$)")
STRANGE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
"""Control characters, tabs and line breaks other than the usual one: YAML has rules of its own for each."""
WORDS = {"true": True, "false": False, "null": None}
ODD = frozenset({"true", "false", "null", "inf", "nan"})
"""Words that YAML 1.2 may take for something else than a text, in any case."""

ALIAS = re.compile(r"(?<![\w*])(?<!<<: )\*\w")
MERGED = 32
"""Aliases, other than those merged one by one, that a text with `<<` may have: 3 in each of 10 merges are 3^10 keys."""


class NotYaml(ValueError):  # noqa: N818 - what a text is, not an error of the program
    """The text is not YAML, or could grow without end; the message is ruamel's."""


class NotPlain(Exception):  # noqa: N818 - a verdict on a text, not an error of the program
    """The text is more than nested plain lines."""


def load(text: str) -> Any:
    """The tree that ruamel.yaml (YAML 1.2, safe) reads in `text`; raises NotYaml."""
    tree: dict[str, Any] = {}
    cut = sections(text)
    if cut is None:
        return by_ruamel(text)
    for section in cut:
        try:
            found = plain(section)
        except NotPlain:
            found = _by_ruamel_alone(section)
        if not isinstance(found, dict) or len(found) != 1 or tree.keys() & found.keys():
            return by_ruamel(text)
        tree |= found
    return tree


def sections(text: str) -> list[str] | None:
    """The text cut before each of its top-level keys, or None where its top level is anything but keys."""
    found: list[list[str]] = []
    for line in text.split("\n"):
        if line[:1] not in ("", " ", "#"):
            if not TOP.match(line):
                return None
            found.append([])
        if found:
            found[-1].append(line)
        elif not EMPTY.fullmatch(line):
            return None
    return ["\n".join([*lines, ""]) for lines in found[:-1]] + ["\n".join(lines) for lines in found[-1:]]


def plain(text: str) -> dict[str, Any]:
    """Nested plain lines as a tree; raises NotPlain. Values: whole numbers, floats, true, false, null, texts.

    >>> plain("a:\\n  b: 1\\n  c: [high, 2]\\n")
    {'a': {'b': 1, 'c': ['high', 2]}}
    """
    if STRANGE.search(text):
        raise NotPlain(text)
    root: dict[str, Any] = {}
    around: list[tuple[int, Any]] = [(0, root)]  # (indent, mapping or list) from the outermost in
    waiting: tuple[int, dict[str, Any], str] | None = None  # a key without a value: its lines may follow
    for line in text.split("\n"):
        match = LINE.fullmatch(line)
        if match is None or not (match["dash"] or match["key"]):
            if EMPTY.fullmatch(line):
                continue
            raise NotPlain(line)
        indent, dash, key = len(match["indent"]), match["dash"], match["key"]
        if waiting is not None and (indent > waiting[0] or (dash and indent == waiting[0])):
            waiting[1][waiting[2]] = [] if dash else {}
            around.append((indent, waiting[1][waiting[2]]))
        while around and (around[-1][0] > indent or (around[-1][0] == indent and _is_over(around[-1][1], dash))):
            around.pop()
        if not around or around[-1][0] != indent or isinstance(around[-1][1], list) != bool(dash):
            raise NotPlain(line)
        here = around[-1][1]
        value = None if match.lastgroup == "key" else _value(match)
        if dash and key:
            here.append({})
            indent, here = indent + len(dash), here[-1]
            around.append((indent, here))
        if key:
            _put(here, key, value)
        else:
            here.append(value)
        waiting = (indent, here, key) if match.lastgroup == "key" else None
    return root


def _is_over(inner: Any, dash: str | None) -> bool:
    """Whether a list that stands no deeper than its key ends, at a line without a dash."""
    return isinstance(inner, list) and not dash


def _put(here: dict[str, Any], key: str, value: Any) -> None:
    if key in here or key.lower() in ODD:
        raise NotPlain(key)
    here[key] = value


def _value(match: re.Match[str]) -> Any:
    kind = match.lastgroup
    text = match[kind or 0]
    if kind in ("dash", "key"):  # nothing after it
        raise NotPlain(text)
    if kind == "int":
        return int(text)
    if kind == "float":
        return float(text)
    if kind == "list":
        return [_value(item) for item in _items(text, keys=False)]
    if kind == "map":
        found: dict[str, Any] = {}
        for item in _items(text, keys=True):
            _put(found, item["key"], _value(item))
        return found
    if kind in ("word", "text"):
        if text in WORDS:
            return WORDS[text]
        if text.lower() in ODD:
            raise NotPlain(text)
    return text


def _items(text: str, keys: bool) -> list[re.Match[str]]:
    """What stands between brackets: plain values only, each with a key or none."""
    found: list[re.Match[str]] = []
    while (at := found[-1].end() if found else 0) < len(text.rstrip(" ")):
        item = ITEM.match(text, at)
        if item is None or (item["key"] is None) is keys:
            raise NotPlain(text)
        found.append(item)
    return found


@lru_cache(maxsize=4096)
def _cached(section: str) -> Any:
    return by_ruamel(section)


def _by_ruamel_alone(section: str) -> Any:
    """What ruamel reads in one section, or None where it cannot be read without the others (aliases, documents)."""
    try:
        return _cached(section)
    except NotYaml:
        return None


def by_ruamel(text: str) -> Any:
    """The tree that DVC itself would read; raises NotYaml."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if "<<" in text and len(ALIAS.findall(text)) > MERGED:
        raise NotYaml(f"merges beside more than {MERGED} aliases")
    try:
        return YAML(typ="safe").load(text)
    except (YAMLError, ValueError, TypeError) as error:  # ValueError: no number, date …; TypeError: a mapping as a key
        raise NotYaml(str(error)) from None


def whole(text: str) -> str:
    """A text with U+FFFD for each half of a surrogate pair, which a YAML or JSON escape can name and UTF-8 cannot hold.

    >>> whole("a\\ud800b") == "a\\ufffdb"
    True
    """
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
