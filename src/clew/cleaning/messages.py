"""A row's messages, mended where they hold what came from its record; what the task's template says stays as it is.

    Post: {{ text }} Stressed?  →  "Post: " and " Stressed?" are the template's own, where they stand in a message

The templates are those of params.yaml (prepare.tasks.*.system and prompt). What a message holds beside their words is
taken as the record's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Row = tuple[str, str | None, Sequence[Mapping[str, Any]]]
"""(task, text, messages)"""


class Template(NamedTuple):
    """What a template says. words: those that it always says, in order; begins, ends: whether a message does with the
    first, the last of them; within: what expressions and blocks (`if`, `for`) may say, any number of times.
    """

    words: Sequence[str]
    begins: bool
    ends: bool
    within: Sequence[str]


Templates = Mapping[str, Sequence[Template]]
"""task → the templates of its messages, in their order."""


class Own(NamedTuple):
    """A part of a message that its template says, in characters. fixed: it stands in the template's own order."""

    start: int
    end: int
    fixed: bool


Mend = Callable[[str, Sequence[Own]], str]


def templates(tasks: Mapping[str, Any]) -> dict[str, list[Template]]:
    """Of prepare.tasks: those of each task's messages."""
    return {
        name: [parsed(template) for template in (task.system, task.prompt) if template is not None]
        for name, task in tasks.items()
    }


def parsed(template: str) -> Template:
    """What a template of Jinja says by itself. The sandbox of `prepare` reads the same language."""
    from jinja2 import Environment, nodes

    top: list[str | None] = []
    within = set()
    for output in Environment().parse(template).body:  # noqa: S701 - nothing is rendered
        for node in output.nodes if isinstance(output, nodes.Output) else [output]:
            if isinstance(node, nodes.TemplateData):
                top.append(node.data)
                continue
            top.append(None)
            some = [node, *node.find_all((nodes.TemplateData, nodes.Const))]
            within |= {one.data for one in some if isinstance(one, nodes.TemplateData)}
            within |= {one.value for one in some if isinstance(one, nodes.Const) and isinstance(one.value, str)}
    words = [word for word in top if word and _is_said(word)]
    begins, ends = (bool(words) and top[at] == words[at] for at in (0, -1))
    return Template(words, begins, ends, sorted(filter(_is_said, within), key=lambda word: (-len(word), word)))


def _is_said(word: str) -> bool:
    return any(sign.isalnum() for sign in word)


def own(template: Template, content: str) -> list[Own]:
    """The parts of a message that its template says.

    `prepare` strips messages. Where a value holds what the template says next, it is taken for the template's: what
    stays by this is said by the template, too.
    """
    found = []
    done, last = 0, len(content)
    if template.ends:
        last -= next((len(word) for word in _forms(template.words[-1]) if content.endswith(word)), 0)
    for number, said in enumerate(template.words):
        start, word = -1, said
        if number == len(template.words) - 1 and last < len(content):
            start, word = last, content[last:]
        elif number == 0 and template.begins:
            start, word = next(((0, word) for word in _forms(said) if content.startswith(word)), (-1, said))
        else:
            places = ((content.find(word, done, last), word) for word in _forms(said))
            start, word = next((one for one in places if one[0] >= 0), (-1, said))
        if start >= done:
            found.append(Own(start, start + len(word), True))
            done = start + len(word)
    if template.within:
        words = re.compile("|".join(map(re.escape, template.within)))
        for start, end in _between(content, found):
            found += [Own(*match.span(), False) for match in words.finditer(content, start, end)]
    return sorted(found)


def _forms(word: str) -> tuple[str, ...]:
    """What may be left of words of a template where white space at the ends of a message is gone."""
    return word, word.rstrip(), word.lstrip(), word.strip()


def _between(content: str, some: Sequence[Own]) -> Iterator[tuple[int, int]]:
    """The parts of a message that are none of these."""
    ends = [0, *(one.end for one in some)]
    return zip(ends, [*(one.start for one in some), len(content)], strict=True)


def whole(of_task: Sequence[Template]) -> Template:
    """The template of a task's messages, one after the other."""
    words = [word for one in of_task for word in one.words]
    within = sorted({word for one in of_task for word in one.within}, key=lambda word: (-len(word), word))
    begins, ends = bool(of_task) and of_task[0].begins, bool(of_task) and of_task[-1].ends
    return Template(words, begins, ends, within)


def beside(row: Row, known: Templates) -> str | None:
    """The row's messages, where they hold more than its text and what the templates say; else None."""
    task, text, messages = row
    contents = [message["content"] for message in messages]
    for template, content in zip(_of_task(task, known, len(contents)), contents, strict=True):
        fixed = [one for one in own(template, content) if one.fixed]
        held = {content[start:end].strip() for start, end in _between(content, fixed)}
        if held - {"", (text or "").strip()}:
            return "\n".join(contents)
    return None


def mended(
    task: str, messages: Sequence[Mapping[str, Any]], mends: Sequence[Mend], known: Templates
) -> list[dict[str, Any]]:
    """A row's messages with every mend applied, in order, to what came from the record."""
    made = []
    for template, message in zip(_of_task(task, known, len(messages)), messages, strict=True):
        content = message["content"]
        for mend in mends:
            content = mend(content, own(template, content))
        made.append({**message, "content": content})
    return made


def _of_task(task: str, known: Templates, count: int) -> Sequence[Template]:
    """The templates of a row's messages; such as say nothing, where its task's are not known."""
    found = known.get(task, ())
    return found if len(found) == count else [Template((), False, False, ())] * count


def piecewise(mend: Callable[[str], str], content: str, own: Sequence[Own]) -> str:
    """A message mended in each piece between what the template says; white space at a piece's ends stays."""
    kept = [one for one in own if one.fixed or mend(content[one.start : one.end]) != content[one.start : one.end]]
    made = []
    for (start, end), said in zip(_between(content, kept), [*kept, None], strict=True):
        piece = content[start:end]
        core = piece.strip()
        made.append(piece.replace(core, mend(core), 1) if core else piece)
        made.append(content[said.start : said.end] if said else "")
    return "".join(made)
