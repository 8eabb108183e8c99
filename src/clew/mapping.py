"""Records become rows, as params.yaml declares it.

    {"question": "Which vitamin …", "options": "A. K\\nB. C", "answer": "B. C"}     one line of a JSONL file
    → messages [user: "Which vitamin …\\nA. C\\nB. K\\nAnswer with the letter."], label "A", choices [A, B]

Templates are Jinja in its immutable sandbox: they see the record's columns and nothing else.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import json
import random
import re
import string
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clew.errors import DataError
from clew.rows import normalise

if TYPE_CHECKING:
    from clew import params

Record = dict[str, Any]
Render = Callable[[str, Mapping[str, Any]], str]


class Unfit(Exception):  # noqa: N818 - a record's verdict, not an error of the program
    """A record that does not fit its mapping: reason (a word for counting) and detail (what was found)."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def records(path: Path, form: str) -> Iterator[Record]:
    """The records of a file, in order: dicts of column → value.

    A line of JSONL that is not an object comes as {} with the line under the key None.
    """
    if form == "csv":
        csv.field_size_limit(1 << 30)
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield from csv.DictReader(file, strict=True)  # an open quote must not swallow rows
    elif form == "jsonl":
        with path.open(encoding="utf-8-sig") as file:
            yield from (_json_line(line) for line in file if line.strip())
    else:
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(path).iter_batches():
            yield from batch.to_pylist()


def _json_line(line: str) -> Record:
    try:
        value = json.loads(line)
        json.dumps(value, ensure_ascii=False).encode()  # lone surrogates have no UTF-8
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {None: line}  # type: ignore[dict-item]


def renderer() -> Render:
    """A function that renders a template with a record, in the sandbox, failing on unknown names."""
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=False)
    for name in ("random", "shuffle"):
        environment.filters.pop(name, None)  # the same record must make the same row
    environment.globals.clear()  # lipsum draws at random, cycler keeps state
    compiled: dict[str, jinja2.Template] = {}

    def render(template: str, values: Mapping[str, Any]) -> str:
        if template not in compiled:
            compiled[template] = environment.from_string(template)
        try:
            return compiled[template].render({**values, "record": values}).strip()
        except jinja2.exceptions.SecurityError as error:
            raise DataError(
                f"a template reaches outside its sandbox ({error})",
                where=f"prepare: {template[:60]!r}",
                fix="Templates may use the record's columns and Jinja's filters only.",
            ) from None
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError, MemoryError) as error:
            raise Unfit("template", f"{type(error).__name__}: {error}"[:200]) from None

    return render


def columns(mapping: params.Mapping, task: str) -> set[str]:
    """The columns that a mapping's templates use; a template that does not parse is a DataError."""
    import jinja2
    from jinja2 import meta

    environment = jinja2.Environment(autoescape=False)  # noqa: S701 - parses only; prompts are not HTML
    used: set[str] = set()
    for name in ("system", "prompt", "text", "label", "options", "answer", "completion"):
        template = getattr(mapping, name, None)
        if template is None:
            continue
        try:
            found = meta.find_undeclared_variables(environment.parse(template))
        except jinja2.TemplateSyntaxError as error:
            raise DataError(
                f"not a template: {error.message}",
                where=f"prepare.tasks.{task}.{name}, line {error.lineno} of the template",
                fix="See https://jinja.palletsprojects.com/templates/ for the form.",
            ) from None
        used |= found - {"record"} - ({"options"} if mapping.kind == "options" and name == "prompt" else set())  # type: ignore[attr-defined]
    return used


def check_columns(mapping: params.Mapping, task: str, record: Record, file: str) -> None:
    """Raise a DataError when the first record of a file lacks a column that the mapping uses."""
    present = [str(name) for name in record]
    missing = sorted(columns(mapping, task) - set(present))
    if missing:
        near = difflib.get_close_matches(missing[0], present, n=1)
        raise DataError(
            f"column `{missing[0]}` is missing" + (f"; did you mean `{near[0]}`?" if near else ""),
            where=f"prepare.tasks.{task}, {mapping.source}/{file}",
            fix=f"The columns are: {', '.join(present)}.",
        )


def content(task: str, mapping: Any, record: Record, render: Render) -> Record:
    """A row's content (rows.CONTENT) and groups from a record; raises Unfit. Pure: the same record, the same row."""
    if None in record:
        raise Unfit("malformed", str(record[None])[:200])  # type: ignore[index]
    record = {name: "" if value is None else value for name, value in record.items()}
    text = render(mapping.text, record)
    answer = ANSWERS[mapping.kind](mapping, record, render, random.Random(_seed(text)))  # noqa: S311
    messages = [{"role": "user", "content": render(mapping.prompt, record | answer.pop("shown", {}))}]
    if mapping.system is not None:
        messages.insert(0, {"role": "system", "content": render(mapping.system, record)})
    return {"task": task, "messages": messages, "text": text, **answer, "groups": groups(mapping, text)}


def _seed(text: str) -> int:
    """A number fixed by the text, so that shuffles do not depend on a row's neighbours."""
    return int.from_bytes(hashlib.blake2b(normalise(text).encode(), digest_size=8).digest())


def _label(mapping: params.LabelMapping, record: Record, render: Render, draw: random.Random) -> Record:
    found = render(mapping.label, record)
    if found not in mapping.values:
        raise Unfit("unknown_label", found[:200])
    label = mapping.values[found]
    choices = list(dict.fromkeys(mapping.values.values()))
    others = [choice for choice in choices if choice != label]
    rejected = draw.choice(others) if mapping.rejected and others else None
    return {"completion": label, "label": label, "choices": choices, "rejected": rejected}


def _options(mapping: params.OptionsMapping, record: Record, render: Render, draw: random.Random) -> Record:
    strip = re.compile(rf"^(?:{mapping.strip})")
    options = [strip.sub("", line).strip() for line in render(mapping.options, record).splitlines() if line.strip()]
    answer = strip.sub("", render(mapping.answer, record)).strip()
    if not 2 <= len(options) <= len(string.ascii_uppercase):
        raise Unfit("number_of_options", str(len(options)))
    if options.count(answer) != 1:
        raise Unfit("answer_not_one_of_the_options", answer[:200])
    if mapping.shuffle:
        draw.shuffle(options)
    letters = list(string.ascii_uppercase[: len(options)])
    label = letters[options.index(answer)]
    others = [letter for letter in letters if letter != label]
    shown = "\n".join(f"{letter}. {option}" for letter, option in zip(letters, options, strict=True))
    return {
        "completion": label,
        "label": label,
        "choices": letters,
        "rejected": draw.choice(others) if mapping.rejected else None,
        "shown": {"options": shown},
    }


def _text(mapping: params.TextMapping, record: Record, render: Render, draw: random.Random) -> Record:  # noqa: ARG001
    return {
        "completion": render(mapping.completion, record),
        "label": None,
        "choices": None,
        "rejected": None,
    }


ANSWERS: dict[str, Callable[[Any, Record, Render, random.Random], Record]] = {
    "label": _label,
    "options": _options,
    "text": _text,
}
"""kind of mapping → completion, label, choices and rejected of a record."""


def groups(mapping: params.Mapping, text: str) -> dict[str, str] | None:
    """attribute → value, where the pattern of exactly one value is found in the text; None where there is none."""
    found = {}
    for attribute, patterns in mapping.groups.items():
        values = [value for value, pattern in patterns.items() if re.search(pattern, text)]
        if len(values) == 1:
            found[attribute] = values[0]
    return found or None
