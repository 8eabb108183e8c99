"""Records become rows, as params.yaml declares it.

    {"question": "Which vitamin …", "options": "A. K\\nB. C", "answer": "B. C"}     one line of a JSONL file
    → messages [user: "Which vitamin …\\nA. C\\nB. K\\nAnswer with the letter."], label "A", choices [A, B]

Templates are Jinja in its immutable sandbox: they see the record's columns and nothing else, and a short one cannot
build something huge: `**` is refused, `*` is for small numbers.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, TypeVar

from clew.answers import ANSWERS, Record, Render
from clew.answers import Unfit as Unfit
from clew.errors import DataError
from clew.rows import normalise

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

    from clew import params

LARGEST_FACTOR = 10**9
"""What `*` may multiply in a template."""

COLUMNS_TOLD = 12

TEMPLATES = (
    "system",
    "prompt",
    "text",
    "label",
    "annotations",
    "options",
    "answer",
    "completion",
    "rejected",
    "response",
    "rater",
    "rating",
)
"""Of a mapping, those that see the record's columns."""

Part = tuple[str, str]
"""Of a template: text as it stands, or the name of a column; the other is empty."""
Parsed = TypeVar("Parsed")


def _sandbox() -> SandboxedEnvironment:
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Sandbox(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"**", "*"})  # also keeps them out of the folding of constants

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:  # noqa: ARG002
            if operator == "**":
                raise jinja2.exceptions.SecurityError("`**` is not allowed")
            if not all(isinstance(factor, (int, float)) and abs(factor) <= LARGEST_FACTOR for factor in (left, right)):
                raise jinja2.exceptions.SecurityError(f"`*` is for numbers up to {LARGEST_FACTOR:,}")
            return left * right

    environment = Sandbox(undefined=jinja2.StrictUndefined, keep_trailing_newline=False)
    for name in ("random", "shuffle"):
        environment.filters.pop(name, None)  # the same record must make the same row
    environment.globals.clear()  # lipsum draws at random, cycler keeps state, range builds long lists
    return environment


def _parsed(parse: Callable[[str], Parsed], template: str) -> Parsed:
    """`parse(template)`, any failure of it as a TemplateSyntaxError."""
    import jinja2

    try:
        return parse(template)
    except jinja2.TemplateSyntaxError:
        raise
    except Exception as error:
        what = "nested too deeply" if isinstance(error, (RecursionError, MemoryError)) else str(error)
        raise jinja2.TemplateSyntaxError(what, lineno=1) from None


def renderer() -> Render:
    """A function that renders a template with a record, in the sandbox, failing on unknown names.

    It raises TemplateSyntaxError for what is no template, DataError for what the sandbox refuses, and Unfit for
    whatever else goes wrong with a record.
    """
    import jinja2

    environment = _sandbox()
    compiled: dict[str, tuple[jinja2.Template, Sequence[Part] | None, Set[str]]] = {}

    def render(template: str, values: Mapping[str, Any]) -> str:
        if template not in compiled:
            whole = _parsed(environment.from_string, template)
            parts = _parts(environment, template)
            compiled[template] = whole, parts, {name for _, name in parts or () if name}
        whole, parts, needed = compiled[template]
        try:
            if parts is not None and values.keys() >= needed:
                text = "".join([str(values[name]) if name else written for written, name in parts]).strip()
            else:
                text = whole.render({**values, "record": values}).strip()
            if not text.isascii():
                text.encode()  # a template can write a lone surrogate
        except jinja2.exceptions.SecurityError as error:
            raise DataError(
                f"a template reaches outside its sandbox ({error})",
                where=f"prepare: {template[:60]!r}",
                fix="Templates may use the record's columns and Jinja's filters only.",
            ) from None
        except Exception as error:  # a template is a program of the user's: it can raise anything
            raise Unfit("template", _told(error, template)) from None
        return text

    return render


def _told(error: Exception, template: str) -> str:
    """What a template fails at, without a value of the record: the message only where it names what the template says.

    'label' is undefined  →  UndefinedError: 'label' is undefined
    'dict object' has no attribute 'ann@example.org'  →  UndefinedError
    """
    import jinja2

    name, message = type(error).__name__, str(error)
    named = [one for one in re.findall("'([^']*)'", message) if not one.endswith(" object")]
    if isinstance(error, jinja2.UndefinedError) and named and all(one in template for one in named):
        return f"{name}: {message}"[:200]
    return name


def _parts(environment: SandboxedEnvironment, template: str) -> Sequence[Part] | None:
    """The parts of a template that only puts columns into text, for which Jinja would take ten times as long."""
    from jinja2 import nodes

    parts: list[Part] = []
    for output in environment.parse(template).body:
        for node in output.nodes if isinstance(output, nodes.Output) else [output]:
            if isinstance(node, nodes.TemplateData):
                parts.append((node.data, ""))
            elif isinstance(node, nodes.Name) and node.name not in ("record", "self", "super"):
                parts.append(("", node.name))
            else:
                return None
    return parts


def templates(mapping: params.Mapping) -> Iterator[tuple[tuple[str, ...], str]]:
    """Of a mapping's templates that see the record's columns: the keys that lead to each, and the template."""
    for name in TEMPLATES:
        template = getattr(mapping, name, None)
        if isinstance(template, str):  # `rejected` of labels is a switch
            yield (name,), template
    if wanted := getattr(mapping, "wanted", None):
        yield ("wanted", "thumb"), wanted.thumb


def columns(mapping: params.Mapping, task: str) -> set[str]:
    """The columns that a mapping's templates use; a template that does not parse is a DataError."""
    import jinja2
    from jinja2 import meta

    environment = _sandbox()
    used: set[str] = set()
    if mapping.kind == "tags":  # type: ignore[attr-defined]
        used |= {mapping.tokens, mapping.tags}  # type: ignore[attr-defined]
    if mapping.kind == "labels":  # type: ignore[attr-defined]
        used.add(mapping.labels)  # type: ignore[attr-defined]
    for path, template in templates(mapping):
        try:
            found = _parsed(lambda text: meta.find_undeclared_variables(environment.parse(text)), template)
        except jinja2.TemplateSyntaxError as error:
            raise DataError(
                f"not a template: {error.message}",
                where=f"prepare.tasks.{task}.{'.'.join(path)}, line {error.lineno} of the template",
                fix="See https://jinja.palletsprojects.com/templates/ for the form.",
            ) from None
        used |= found - {"record"} - ({"options"} if mapping.kind == "options" and path == ("prompt",) else set())  # type: ignore[attr-defined]
    return used


def check_columns(mapping: params.Mapping, task: str, record: Record, file: str) -> None:
    """Raise a DataError when the first record of a file lacks a column that the mapping uses.

    In JSONL a record need not have the columns that `missing` declares.
    """
    present = [str(name) for name in record]
    declared = set(mapping.missing)
    wanted = columns(mapping, task)
    wanted = wanted - declared if mapping.format == "jsonl" else wanted | declared
    missing = sorted(wanted - set(present))
    if missing:
        near = difflib.get_close_matches(missing[0], present, n=1)
        more = f" and {len(present) - COLUMNS_TOLD:,} more" if len(present) > COLUMNS_TOLD else ""
        raise DataError(
            f"column `{missing[0]}` is missing" + (f"; did you mean `{one_line(near[0])}`?" if near else ""),
            where=f"prepare.tasks.{task}, {mapping.source}/{file}",
            fix=f"The columns are: {', '.join(map(one_line, present[:COLUMNS_TOLD]))}{more}.",
        )


def one_line(text: str, limit: int = 60) -> str:
    """A text from the data for a message of one line."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[:limit] + "…"


def content(task: str, mapping: Any, record: Record, render: Render) -> Record:
    """A row's content (rows.CONTENT) and groups from a record; raises Unfit. Pure: the same record, the same row."""
    if None in record:
        raise Unfit("malformed", record[None][0])  # type: ignore[index]
    record = {name: "" if value is None else value for name, value in record.items()}
    text = render(mapping.text, record)
    answer = ANSWERS[mapping.kind](mapping, record, render, lambda: random.Random(_seed(text)))  # noqa: S311
    messages = [{"role": "user", "content": render(mapping.prompt, record | answer.pop("shown", {}))}]
    if mapping.system is not None:
        messages.insert(0, {"role": "system", "content": render(mapping.system, record)})
    return {"task": task, "messages": messages, "text": text, **answer, "groups": groups(mapping, text)}


def _seed(text: str) -> int:
    """A number fixed by the text, so that shuffles do not depend on a row's neighbours."""
    return int.from_bytes(hashlib.blake2b(normalise(text).encode(), digest_size=8).digest())


_compiled = functools.lru_cache(1 << 10)(re.compile)


def groups(mapping: params.Mapping, text: str) -> dict[str, str] | None:
    """attribute → value, where the pattern of exactly one value is found in the text; None where there is none."""
    found = {}
    for attribute, patterns in mapping.groups.items():
        values = [value for value, pattern in patterns.items() if _compiled(pattern).search(text)]
        if len(values) == 1:
            found[attribute] = values[0]
    return found or None
