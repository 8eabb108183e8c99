"""What the files of one commit say: params and metrics as flat names and values, as `dvc params diff` has them.

params.yaml     {"sft": {"epochs": 1, "lora": {"rank": 8}}}      → {"sft.epochs": 1, "sft.lora.rank": 8}
metrics/q.json  {"sft": {"stress": {"f1": {"value": 0.74}}}}     → {"sft.stress.f1.value": 0.74}

Values are what strict JSON and UTF-8 can hold, so that all who keep or print them agree: a number that is not finite is
the text "NaN", "Infinity" or "-Infinity" (no number, and so no candidate for the best), half of a surrogate pair is
U+FFFD, a date is its text. What would grow out of all bounds (aliases of aliases, deep nesting) is refused.
"""

from __future__ import annotations

import json
import math
import posixpath
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

from clew.history import blocks

Flat = dict[str, Any]
"""Dotted name → number, text, true, false, None or list."""

PARAMS, LOCK, PIPELINE = "params.yaml", "dvc.lock", "dvc.yaml"
VALUES, CHARACTERS, DEPTH = 100_000, 32 << 20, 100
"""What one file may come to at most, each alias counted as often as it stands."""
PATHS = 10_000
"""Metrics files that a dvc.yaml may declare at most, its templates filled in."""
BITS = 1000
"""Of a whole number: a larger one is kept as its hexadecimal text, for no float comes near it."""
FILLED = re.compile(r"\$\{\s*([^${}]+?)\s*\}")


class Unreadable(ValueError):  # noqa: N818 - what a commit holds, not an error of the program
    """A file of a commit that is not what its name says, or that is not there; the message is one line."""


class Declared(NamedTuple):
    """A stage of dvc.yaml, its templates filled in. params: (file, dotted name; None for the whole file).

    uncached: those of the outs whose content DVC does not keep.
    """

    cmd: str
    deps: tuple[str, ...]
    params: tuple[tuple[str, str | None], ...]
    outs: tuple[str, ...]
    uncached: frozenset[str]
    frozen: bool
    always: bool


def params(text: str) -> Flat:
    """The values of params.yaml by dotted name; a list is one value. Raises Unreadable."""
    return flat(_mapping(_yaml(text) or {}))


def metrics(path: str, text: str) -> Flat:
    """The numbers and texts of a metrics file by dotted name: lists and nulls are none. Raises Unreadable."""
    if path.endswith((".yaml", ".yml")):
        tree = _yaml(text)
    else:
        try:
            tree = json.loads(text)
        except ValueError as error:
            raise Unreadable(f"not JSON: {error}") from None
        except RecursionError:
            raise Unreadable("it is nested too deeply") from None
    values = flat(tree) if isinstance(tree, Mapping) else {"": _Form().value(tree, 0)}
    return {name: value for name, value in values.items() if isinstance(value, (int, float, str))}


def flat(tree: Mapping[Any, Any], prefix: str = "") -> Flat:
    """Nested mappings as dotted names; an empty mapping leaves nothing. Raises Unreadable where there is no end.

    >>> flat({"a": {"b": 1, "c": {}}, "d": [2, float("nan")]})
    {'a.b': 1, 'd': [2, 'NaN']}
    """
    found: Flat = {}
    _Form().flatten(tree, prefix, 0, found)
    return found


def differing(before: Flat, after: Flat) -> dict[str, tuple[Any, Any]]:
    """Names whose value differs, with both values; None where one side lacks it."""
    both = {**before, **after}
    return {name: (before.get(name), after.get(name)) for name in both if before.get(name) != after.get(name)}


class _Form:
    """Values as JSON holds them, counted."""

    def __init__(self) -> None:
        self.values, self.characters = VALUES, CHARACTERS

    def flatten(self, tree: Mapping[Any, Any], prefix: str, depth: int, found: Flat) -> None:
        for key, value in tree.items():
            name = self._text(f"{prefix}{key}")
            if isinstance(value, Mapping):
                self._count(depth)
                self.flatten(value, f"{name}.", depth + 1, found)
            else:
                found[name] = self.value(value, depth)

    def value(self, value: Any, depth: int) -> Any:
        self._count(depth)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int):
            return value if value.bit_length() <= BITS else hex(value)
        if isinstance(value, float):
            if math.isfinite(value):
                return value
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        if isinstance(value, Mapping):
            return {self._text(f"{key}"): self.value(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(item, depth + 1) for item in value]
        return sorted(map(self._text, map(str, value))) if isinstance(value, set) else self._text(str(value))

    def _count(self, depth: int) -> None:
        self.values -= 1
        if self.values < 0:
            raise Unreadable(f"it comes to more than {VALUES:,} values")
        if depth > DEPTH:
            raise Unreadable(f"it is nested more than {DEPTH} deep")

    def _text(self, text: str) -> str:
        self.characters -= len(text)
        if self.characters < 0:
            raise Unreadable(f"it comes to more than {CHARACTERS >> 20} MB")
        return blocks.whole(text)


def metric_paths(pipeline: str, values: Flat) -> list[str]:
    """The files that a dvc.yaml declares as metrics, its templates filled in with params. Raises Unreadable."""
    tree = _mapping(_pipeline(pipeline) or {})
    found = [*_paths(tree.get("metrics"), "metrics")]
    for name, stage in _mapping(tree.get("stages") or {}, "stages").items():
        where = blocks.whole(f"stage {name}")
        own = _mapping(stage, where)
        block = _mapping(own.get("do", own), f"do of {where}")
        for path in _paths(block.get("metrics"), f"metrics of {where}"):
            found += [_filled(path, one, values) for one in _items(own, values, where)] if "${" in path else [path]
            if len(found) > PATHS:
                raise Unreadable(f"it declares more than {PATHS:,} metrics")
    return list(dict.fromkeys(map(posixpath.normpath, found)))


def stages(pipeline: str, values: Flat) -> dict[str, Declared]:
    """The stages that a dvc.yaml declares, each instance of a foreach or matrix by its name (`predict@base`).

    values: of params.yaml, for the templates. Raises Unreadable.
    """
    found = {}
    for name, stage in _mapping(_mapping(_pipeline(pipeline) or {}).get("stages") or {}, "stages").items():
        where = blocks.whole(f"stage {name}")
        own = _mapping(stage, where)
        block = _mapping(own.get("do", own), f"do of {where}")
        many = "foreach" in own or "matrix" in own
        for number, item in enumerate(_items(own, values, where)):
            suffix = f"@{_instance(item, number)}" if many else ""
            found[blocks.whole(f"{name}{suffix}")] = _declared(block, item, values, where)
    return found


def _instance(item: Flat, number: int) -> str:
    """What stands after the @ in the name of an instance: the key, the item, its number, or the matrix's values."""
    if "key" in item or "item" in item:
        return str(item.get("key", item.get("item")))
    axes = {name: value for name, value in item.items() if name.count(".") == 1}
    return "-".join(map(str, axes.values())) if axes and len(axes) == len(item) else str(number)


def _declared(block: Mapping[Any, Any], item: Flat, values: Flat, where: str) -> Declared:
    def filled(path: str) -> str:
        return _filled(path, item, values)

    cmd = block.get("cmd") or ""
    params: list[tuple[str, str | None]] = []
    for entry in block.get("params") or ():
        of = _mapping(entry, f"params of {where}") if isinstance(entry, Mapping) else {PARAMS: [entry]}
        for file, names in of.items():
            params += (
                [(filled(str(file)), filled(str(name))) for name in names] if names else [(filled(str(file)), None)]
            )
    outs, uncached = [], set()
    for kind in ("outs", "metrics", "plots"):
        for entry in block.get(kind) or ():
            path = filled(next(_paths([entry], f"{kind} of {where}")))
            outs.append(path)
            options = next(iter(entry.values())) if isinstance(entry, Mapping) else None
            if isinstance(options, Mapping) and options.get("cache") is False:
                uncached.add(path)
    return Declared(
        filled(" && ".join(map(str, cmd)) if isinstance(cmd, list) else str(cmd)),
        tuple(filled(path) for path in _paths(block.get("deps"), f"deps of {where}")),
        tuple(params),
        tuple(outs),
        frozenset(uncached),
        bool(block.get("frozen")),
        bool(block.get("always_changed")),
    )


def is_outside(path: str) -> bool:
    """Whether a declared path leads out of the repository.

    >>> is_outside("../secret.json"), is_outside("/tmp/x"), is_outside("metrics/../m.json")
    (True, True, False)
    """
    return posixpath.normpath(path).startswith(("../", "/")) or posixpath.normpath(path) == ".."


def outside(path: str) -> str:
    """The problem that such a path is."""
    return f"metrics {path} lies outside of the repository: not read"


def _mapping(tree: Any, what: str | None = None) -> Mapping[Any, Any]:
    if not isinstance(tree, Mapping):
        raise Unreadable(f"{what} is not a mapping" if what else "not a mapping")
    return tree


def _paths(entries: Any, what: str) -> Iterator[str]:
    """Paths in a `metrics:` list, whose entries are a path or {path: options}."""
    if entries is not None and not isinstance(entries, list):
        raise Unreadable(f"{what} is not a list")
    for entry in entries or ():
        path = next(iter(entry), None) if isinstance(entry, Mapping) else entry
        if not isinstance(path, str) or not path:
            raise Unreadable(f"{what} has an entry without a path")
        yield blocks.whole(path)


def _items(stage: Mapping[Any, Any], values: Flat, where: str) -> Iterator[Flat]:
    """What `item` and `key` are in each instance of a foreach or matrix stage; {} once for any other."""
    if "foreach" in stage:
        over = _looked_up(stage["foreach"], values)
        if not isinstance(over, (Mapping, list)):
            raise Unreadable(f"foreach of {where} is neither a list nor a mapping")
        over = _Form().value(over, 0)
        if isinstance(over, Mapping):
            yield from (flat({"key": key, "item": item}) for key, item in over.items())
        else:
            yield from (flat({"item": item}) for item in over)
    elif "matrix" in stage:
        matrix = _mapping(stage["matrix"], f"matrix of {where}")
        axes = _Form().value({name: _looked_up(options, values) for name, options in matrix.items()}, 0)
        if not all(isinstance(options, list) for options in axes.values()):
            raise Unreadable(f"matrix of {where} has an axis that is not a list")
        if math.prod(map(len, axes.values())) > PATHS:
            raise Unreadable(f"matrix of {where} has more than {PATHS:,} points")
        yield from (flat({"item": dict(zip(axes, point, strict=True))}) for point in product(*axes.values()))
    else:
        yield {}


def _looked_up(value: Any, values: Flat) -> Any:
    """A list or mapping itself, or the one that a template names; [] where its name stands in another file."""
    match = FILLED.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return [] if isinstance(value, str) and "${" in value else value
    name = match[1]
    below = {key.removeprefix(f"{name}."): item for key, item in values.items() if key.startswith(f"{name}.")}
    return values.get(name, below or [])


def _filled(path: str, own: Flat, values: Flat) -> str:
    """Templates of single values filled in; others stay as they are."""

    def fill(match: re.Match[str]) -> str:
        value = own.get(match[1], values.get(match[1]))
        return match[0] if value is None or isinstance(value, list) else str(value)

    return FILLED.sub(fill, path)


@lru_cache(maxsize=4)
def _pipeline(text: str) -> Any:
    """A dvc.yaml, which is the same in most commits."""
    return _yaml(text)


def _yaml(text: str) -> Any:
    try:
        return blocks.load(text)
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None
    except Exception as error:  # ruamel has many
        raise Unreadable(f"not YAML: {' '.join(str(error).split())[:160]}") from None
