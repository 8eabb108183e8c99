"""YAML as DVC and people write it, read block by block: a block that was read once is never read again.

    sft:                         {"sft": {"epochs": 3, "lora": {"rank": 8}}}
      epochs: 3 # at most
      lora:
        rank: 8

One commit differs from the next by a few lines, and ruamel.yaml, which DVC reads with, takes milliseconds for each
section of a file. So a file is cut at its top-level keys, and a section of plain nested `key: value` lines, as most
are, is read here. Whatever is not plain (flow style, anchors, block texts, quoting with escapes) is ruamel's.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

KEY = r"(?P<indent> *)(?P<key>[A-Za-z_][\w-]*):"
NUMBER = r"(?P<int>-?(?:0|[1-9]\d{0,17}))|(?P<float>-?(?:0|[1-9]\d*)\.\d+(?:[eE][-+]?\d+)?)"
TEXT = r"\"(?P<double>[^\"\\\n]*)\"|'(?P<single>[^'\n]*)'|(?P<word>[A-Za-z_/][\w./@+-]*(?: [\w./@+-]+)*)"
LINE = re.compile(rf"{KEY}(?: +(?:{NUMBER}|{TEXT}))?(?: +#.*| *)")
EMPTY = re.compile(r" *(?:#.*)?")
TOP = re.compile(r"[A-Za-z_][\w-]*:(?:\s|$)")
STRANGE = re.compile("[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
"""Control characters, tabs and line breaks other than the usual one: YAML has rules of its own for each."""
WORDS = {"true": True, "false": False, "null": None}
ODD = frozenset({"yes", "no", "on", "off", "y", "n", "true", "false", "null", "inf", "nan"})
"""Words that a YAML reader may take for something else than a text, in any case."""

ALIAS = re.compile(r"(?<![\w*])(?<!<<: )\*\w")
MERGED = 32
"""Aliases, other than those merged one by one, that a text with `<<` may have: 3 in each of 10 merges are 3^10 keys."""


class NotPlain(Exception):  # noqa: N818 - a verdict on a text, not an error of the program
    """The text is more than nested `key: value` lines."""


def load(text: str) -> Any:
    """The tree that ruamel.yaml (YAML 1.2, safe) reads in `text`; raises its YAMLError where it is not YAML."""
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
    return ["\n".join(lines) for lines in found]


def plain(text: str) -> dict[str, Any]:
    """Nested `key: value` lines as a tree; raises NotPlain. Values: whole numbers, floats, true, false, null, texts.

    >>> plain("a:\\n  b: 1\\n  c: high\\n")
    {'a': {'b': 1, 'c': 'high'}}
    """
    if STRANGE.search(text):
        raise NotPlain(text)
    root: dict[str, Any] = {}
    open_maps: list[tuple[int, dict[str, Any]]] = [(0, root)]  # (indent, mapping) from the outermost in
    waiting: tuple[int, dict[str, Any], str] | None = None  # a key without a value: its lines may follow
    for line in text.split("\n"):
        match = LINE.fullmatch(line)
        if match is None:
            if EMPTY.fullmatch(line):
                continue
            raise NotPlain(line)
        indent, key = len(match["indent"]), match["key"]
        if waiting is not None and indent > waiting[0]:
            waiting[1][waiting[2]] = {}
            open_maps.append((indent, waiting[1][waiting[2]]))
        while open_maps and open_maps[-1][0] > indent:
            open_maps.pop()
        if not open_maps or open_maps[-1][0] != indent or key in open_maps[-1][1] or key.lower() in ODD:
            raise NotPlain(line)
        here = open_maps[-1][1]
        here[key] = _value(match)
        waiting = (indent, here, key) if match.lastgroup == "key" else None
    return root


def _value(match: re.Match[str]) -> Any:
    kind = match.lastgroup
    if kind == "key":
        return None
    text = match[kind or "key"]
    if kind == "int":
        return int(text)
    if kind == "float":
        return float(text)
    if kind == "word":
        if text in WORDS:
            return WORDS[text]
        if text.lower() in ODD:
            raise NotPlain(text)
    return text


@lru_cache(maxsize=4096)
def _cached(section: str) -> Any:
    return by_ruamel(section)


def _by_ruamel_alone(section: str) -> Any:
    """What ruamel reads in one section, or None where it cannot be read without the others (aliases, documents)."""
    from ruamel.yaml.error import YAMLError

    try:
        return _cached(section)
    except YAMLError:
        return None


def by_ruamel(text: str) -> Any:
    """The tree that DVC itself would read; raises ValueError where lists of merges could grow without end."""
    from ruamel.yaml import YAML

    if "<<" in text and len(ALIAS.findall(text)) > MERGED:
        raise ValueError(f"merges beside more than {MERGED} aliases")
    return YAML(typ="safe").load(text)


def whole(text: str) -> str:
    """A text with U+FFFD for each half of a surrogate pair, which a YAML or JSON escape can name and UTF-8 cannot hold.

    >>> whole("a\\ud800b") == "a\\ufffdb"
    True
    """
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
