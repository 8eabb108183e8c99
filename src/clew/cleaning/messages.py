"""A row's messages, mended where they hold what came from its record; what the prompt's template says stays as it is.

    Post: {{ text }} Stressed?  →  around = ("Post: ", " Stressed?"), the same in every row of the task: the template's

Where the parts around the text differ from row to row, other columns of the record may stand in them: all is mended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Mend = Callable[[str], str]
Around = tuple[str, ...]
Row = tuple[str, str | None, Sequence[Mapping[str, Any]]]
"""(task, text, messages)"""
Templates = Mapping[tuple[str, int], Around | None]
"""(task, number of the message) → what stands around the text in every row of the task; None where rows differ."""


def around(text: str | None, content: str) -> Around:
    """The parts of a message before, between and after its row's text."""
    return tuple(content.split(text)) if text else (content,)


def templates(rows: Iterable[Row]) -> Templates:
    """What is the template's, of all rows. A task with one row only tells nothing: there all is the row's."""
    found: dict[tuple[str, int], Around | None] = {}
    counts: dict[tuple[str, int], int] = {}
    for task, text, messages in rows:
        for number, message in enumerate(messages):
            place = (task, number)
            counts[place] = counts.get(place, 0) + 1
            if found.get(place, ()) is not None:
                parts = around(text, message["content"])
                found[place] = parts if found.setdefault(place, parts) == parts else None
    return {place: parts if counts[place] > 1 else None for place, parts in found.items()}


def beside(row: Row, known: Templates) -> str | None:
    """What the row's messages hold beside its text and the templates, and may be of its record; None where nothing."""
    task, _, messages = row
    found = [message["content"] for number, message in enumerate(messages) if known[task, number] is None]
    return "\n".join(found) or None


def mended(row: Row, mends: Sequence[Mend], known: Templates) -> list[dict[str, Any]]:
    """The row's messages with every mend applied, in order, to what came from the record."""
    task, text, messages = row
    return [
        {**message, "content": _content(message["content"], text, mends, known[task, number])}
        for number, message in enumerate(messages)
    ]


def _content(content: str, text: str | None, mends: Sequence[Mend], template: Around | None) -> str:
    if template is None:
        return _all(content, mends)
    return _all(text or "", mends).join(template)


def _all(text: str, mends: Sequence[Mend]) -> str:
    for mend in mends:
        text = mend(text)
    return text
