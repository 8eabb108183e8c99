"""params.yaml as a file: its tree with line numbers, and what is wrong with it in the file's own places."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from clew.errors import ParamsError

MOST_VALUES = 100_000


def parse(file: Path) -> Any:
    """The YAML tree with line numbers. The round-trip loader builds no Python objects: tags stay inert."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        tree = YAML(typ="rt").load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(
            "the file does not exist",
            where=str(file),
            fix="Run clew in the root of an experiment's repository.",
        ) from None
    except OSError as error:
        raise ParamsError(f"cannot be read ({error.strerror})", where=str(file), fix="Name a readable file.") from None
    except UnicodeDecodeError:
        raise ParamsError("not UTF-8 text", where=str(file), fix="Save it as UTF-8.") from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = str(error.problem).splitlines()[0]
        raise ParamsError(f"not valid YAML: {problem}", where=f"{file}:{line}", fix="Mend that line.") from None
    except YAMLError as error:  # a character that YAML does not have, such as NUL
        problem = " ".join(str(error).split())[:120]
        raise ParamsError(f"not valid YAML: {problem}", where=str(file), fix="Take it out.") from None
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, thousands of levels
        raise ParamsError(f"not read: {str(error)[:80]}", where=str(file), fix="Write it shorter.") from None
    if not isinstance(tree, dict):
        raise ParamsError("not a mapping of sections", where=str(file), fix="`clew params schema` prints the form.")
    return tree


def plain(tree: Any, file: Path) -> dict[str, Any]:
    """Ruamel's types as JSON's; anything that JSON does not have (dates, tagged values) as its text."""
    from ruamel.yaml.scalarbool import ScalarBoolean

    left = MOST_VALUES

    def one(value: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise ParamsError(
                f"more than {MOST_VALUES:,} values", where=str(file), fix="Aliases of aliases multiply: write them out."
            )
        if isinstance(value, dict):
            return {str(key): one(item) for key, item in value.items()}
        if isinstance(value, list):
            return [one(item) for item in value]
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, ScalarBoolean):  # a bool with an anchor, which ruamel makes an int
            return bool(value)
        for kind in (int, float, str):
            if isinstance(value, kind):
                break
        else:
            kind = str
        if kind is str and not _is_text(str(value)):
            raise ParamsError(f"half a character in {ascii(str(value))[:60]}", where=str(file), fix="Take it out.")
        return kind(value)

    return {str(key): one(item) for key, item in tree.items()}


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate, such as "\\ud800"
        return False
    return True


def _dotted(path: tuple[str | int, ...]) -> str:
    """A place in the file, on one line whatever its keys hold."""
    return ".".join(str(part) if str(part).isprintable() else ascii(part) for part in path)


def problem(file: Path, tree: Any, error: Any, schema: type[BaseModel]) -> tuple[int, str]:
    """Turn one pydantic error into (line, "file:line: path: what is wrong. What to do")."""
    path = _real_path(tree, error["loc"], missing=error["type"] == "missing")
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(path[-1]), _names(schema, path[:-1]), n=1, cutoff=0.5)
        text = "unknown name" + (f". Did you mean `{near[0]}`?" if near else "")
    elif error["type"] == "missing":
        text = "missing"
    elif error["type"] == "union_tag_not_found":
        keys = [str(key) for key in error["input"]] if isinstance(error["input"], dict) else []
        near = difflib.get_close_matches("kind", keys, n=1, cutoff=0.5)
        text = "`kind` is missing" + (f"; is it `{near[0]}`?" if near else "")
    else:
        message = error["msg"].removeprefix("Value error, ")
        value = error["input"]
        shown = "" if isinstance(value, (dict, list)) else f", not {json.dumps(value, ensure_ascii=False)[:60]}"
        text = message[:1].lower() + message[1:] + shown
    return told(file, tree, path, text)


def told(file: Path, tree: Any, path: tuple[str | int, ...], text: str) -> tuple[int, str]:
    """A problem as (line, "file:line: path: text")."""
    line = _line(tree, path)
    return line, f"{file}:{line}: {_dotted(path)}: {text}"


def _real_path(tree: Any, loc: tuple[str | int, ...], *, missing: bool) -> tuple[str | int, ...]:
    """The path without the tag that pydantic puts after a mapping whose `kind` decides its class."""
    path: list[str | int] = []
    node = tree
    tagged = False
    for index, part in enumerate(loc):
        if isinstance(node, dict) and node.get("kind") == part and not tagged:
            tagged = True
            continue
        if isinstance(node, dict) and part in [str(key) for key in node]:
            path.append(part)
            node = next(item for key, item in node.items() if str(key) == part)
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            path.append(part)
            node = node[part]
        elif missing and index == len(loc) - 1:
            path.append(part)
    return tuple(path)


def _line(tree: Any, path: tuple[str | int, ...]) -> int:
    """The line of the last part of `path` that stands in the file, counted from 1."""
    line = 1
    node: Any = tree
    for part in path:
        try:
            marks = node.lc
            position = marks.item(part) if isinstance(node, list) else marks.key(part)
            line, node = position[0] + 1, node[part]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return int(line)


def _names(schema: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    """The valid names at a place in the schema."""
    models: list[type[BaseModel]] = [schema]
    for part in loc:
        fields = [model.model_fields[str(part)] for model in models if str(part) in model.model_fields]
        if fields:
            models = [found for field in fields for found in _models_in(field)]
    return sorted({name for model in models for name in model.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, FieldInfo):
        annotation = annotation.annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in getattr(annotation, "__args__", ()) for found in _models_in(part)]
