"""What the files of one commit say: params and metrics as flat names and values, as `dvc params diff` has them.

params.yaml     {"sft": {"epochs": 1, "lora": {"rank": 8}}}      → {"sft.epochs": 1, "sft.lora.rank": 8}
metrics/q.json  {"sft": {"stress": {"f1": {"value": 0.74}}}}     → {"sft.stress.f1.value": 0.74}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from clew.history import blocks

Flat = dict[str, Any]
"""Dotted name → number, text, true, false, None or list."""

PARAMS, LOCK, PIPELINE = "params.yaml", "dvc.lock", "dvc.yaml"


class Unreadable(Exception):  # noqa: N818 - what a commit holds, not an error of the program
    """A file of a commit that is not what its name says; the message is one line."""


def params(text: str) -> Flat:
    """The values of params.yaml by dotted name; a list is one value. Raises Unreadable."""
    tree = _yaml(text) or {}
    if not isinstance(tree, Mapping):
        raise Unreadable("not a mapping")
    return flat(tree)


def metrics(path: str, text: str) -> Flat:
    """The numbers and texts of a metrics file by dotted name: lists and nulls are none. Raises Unreadable."""
    if path.endswith((".yaml", ".yml")):
        tree = _yaml(text)
    else:
        try:
            tree = json.loads(text)
        except ValueError as error:
            raise Unreadable(f"not JSON: {error}") from None
    if not isinstance(tree, Mapping):
        return {"": tree} if isinstance(tree, (int, float, str)) else {}
    return {name: value for name, value in flat(tree).items() if isinstance(value, (int, float, str))}


def flat(tree: Mapping[str, Any], prefix: str = "") -> Flat:
    """Nested mappings as dotted names; an empty mapping leaves nothing.

    >>> flat({"a": {"b": 1, "c": {}}, "d": [2]})
    {'a.b': 1, 'd': [2]}
    """
    found: Flat = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found.update(flat(value, f"{name}."))
        else:
            found[name] = value
    return found


def metric_paths(pipeline: str, values: Flat) -> list[str]:
    """The files that a dvc.yaml declares as metrics, its templates filled in with params. Raises Unreadable."""
    tree = _yaml(pipeline) or {}
    if not isinstance(tree, Mapping):
        raise Unreadable("not a mapping")
    found = [*_paths(tree.get("metrics"))]
    for stage in (tree.get("stages") or {}).values():
        if not isinstance(stage, Mapping):
            continue
        block = stage.get("do", stage)
        for path in _paths(block.get("metrics")):
            found += [_filled(path, own, values) for own in _items(stage, values)] if "${" in path else [path]
    return list(dict.fromkeys(found))


def _paths(entries: Any) -> Iterator[str]:
    """Paths in a `metrics:` list, whose entries are a path or {path: options}."""
    for entry in entries if isinstance(entries, list) else ():
        yield str(next(iter(entry)) if isinstance(entry, Mapping) else entry)


def _items(stage: Mapping[str, Any], values: Flat) -> Iterator[Flat]:
    """What `item` and `key` are in each instance of a foreach or matrix stage; {} once for any other."""
    if "foreach" in stage:
        over = _looked_up(stage["foreach"], values)
        if isinstance(over, Mapping):
            yield from (flat({"key": key, "item": item}) for key, item in over.items())
        else:
            yield from (flat({"item": item}) for item in over if isinstance(over, list))
    elif "matrix" in stage:
        axes = {name: _looked_up(options, values) for name, options in stage["matrix"].items()}
        yield from (flat({"item": dict(zip(axes, point, strict=True))}) for point in product(*axes.values()))
    else:
        yield {}


def _looked_up(value: Any, values: Flat) -> Any:
    if isinstance(value, str) and value.startswith("${") and value.endswith("}"):
        name = value[2:-1].strip()
        below = {key.removeprefix(f"{name}."): item for key, item in values.items() if key.startswith(f"{name}.")}
        return values.get(name, below or [])
    return value


def _filled(path: str, own: Flat, values: Flat) -> str:
    for name, value in {**values, **own}.items():
        path = path.replace(f"${{{name}}}", str(value))
    return path


def _yaml(text: str) -> Any:
    from ruamel.yaml.error import YAMLError

    try:
        return blocks.load(text)
    except (YAMLError, ValueError, RecursionError) as error:
        raise Unreadable(f"not YAML: {' '.join(str(error).split())[:160]}") from None
