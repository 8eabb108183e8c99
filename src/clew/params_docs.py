"""docs/params.md, written from the schema of params.yaml: a line for each key, what it may be and what it means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from clew import params

HEAD = """# The keys of params.yaml

Written from the schema by `clew params docs > docs/params.md`; a test holds the two equal. There are no defaults: every
key of a section stands in params.yaml. `<name>` stands for a name of yours, `[]` for each item of a list. `clew params
check` tells what is wrong, all at once, and warns of what is unusual.
"""
BOUNDS = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
TYPES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false", "null": "null"}


def markdown() -> str:
    """The whole page."""
    schema = params.schema()
    parts = [HEAD]
    for name, node in schema["properties"].items():
        section = _resolve(node, schema)
        parts.append(f"\n## {name}\n")
        if "properties" not in section:
            parts.append(f"\n{_sentence(_type(node, schema))}\n")
            continue
        parts.append(f"\n{_text(section)}\n\n| key | valid | meaning |\n|---|---|---|\n")
        lines = dict.fromkeys(_lines(name, node, schema))  # what several kinds share stands there once
        parts += [f"| `{key}` | {_cell(valid)} | {_cell(meaning)} |\n" for key, valid, meaning in lines]
    return "".join(parts)


def _lines(path: str, node: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(key, valid values, meaning) of each key below a node."""
    for option in _options(node, schema):
        for name, child in option.get("properties", {}).items():
            key = f"{path}.{name}"
            of_kind = _text(option) if "const" in child else ""  # a section's kind means the section
            yield key, _type(child, schema), _text(child) or of_kind or _meaning(child, schema)
            yield from _lines(key, child, schema)
        if (values := _values(option)) is not None:
            yield from _lines(f"{path}.<name>", values, schema)
        if isinstance(option.get("items"), Mapping):
            yield from _lines(f"{path}[]", option["items"], schema)


def _values(node: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Of a mapping of names, what the names stand for."""
    patterned: Mapping[str, Any] = node.get("patternProperties", {})
    for values in (node.get("additionalProperties"), *patterned.values()):
        if isinstance(values, Mapping):
            return values
    return None


def _resolve(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = node
    if "$ref" in node:
        found = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return found


def _options(node: Mapping[str, Any], schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a node may be: itself, or each of its alternatives."""
    found = _resolve(node, schema)
    alternatives = found.get("anyOf") or found.get("oneOf")
    if alternatives is None:
        return [found]
    return [option for alternative in alternatives for option in _options(alternative, schema)]


def _type(node: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    return " or ".join(dict.fromkeys(_type_of(option, schema) for option in _options(node, schema)))


def _type_of(node: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """The words for one alternative, without references."""
    if "const" in node or "enum" in node:
        return ", ".join(f"`{value}`" for value in node.get("enum", [node.get("const")]))
    if "properties" in node:
        kind = node["properties"].get("kind", {}).get("const")
        return f"a section of kind `{kind}`" if kind else "a section"
    if node.get("type") == "array":
        return f"a list of: {_type(node.get('items', {}), schema)}"
    if (values := _values(node)) is not None:
        return f"a mapping of names to: {_type(values, schema)}"
    words = TYPES.get(node.get("type", ""), "anything")
    bounds = [f"{sign} {node[name]}" for name, sign in BOUNDS if name in node]
    pattern = [f"`{node['pattern']}`"] if "pattern" in node else []
    return " ".join([words, *([", ".join(bounds)] if bounds else []), *pattern])


def _meaning(node: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """What the sections that a key may hold say of themselves."""
    return " ".join(dict.fromkeys(filter(None, (_text(option) for option in _options(node, schema)))))


def _text(node: Mapping[str, Any]) -> str:
    return " ".join(node.get("description", "").split())


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
