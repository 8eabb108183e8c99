"""A row's messages, mended where they hold what came from its record; what the prompt's template says stays as it is.

    Post: {{ text }} Stressed?  →  around = ("Post: ", " Stressed?"), the same in most rows of the task: the template's

Where a row's message is not its text within the template, other columns of the record may stand in it: all is mended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

Mend = Callable[[str], str]
Around = tuple[str, ...]
Row = tuple[str, str | None, Sequence[Mapping[str, Any]]]
"""(task, text, messages)"""
Place = tuple[str, int]
"""(task, number of the message)"""
Templates = Mapping[Place, Around | None]
"""What stands around the text in more than half of the task's rows; None where nothing does."""


def around(text: str | None, content: str) -> Around:
    """The parts of a message before, between and after its row's text."""
    return tuple(content.split(text)) if text else (content,)


def templates(read: Callable[[], Iterable[Row]]) -> Templates:
    """What is the template's, of all rows, which are read again where some differ. One row alone tells nothing.

    The majority is found by Boyer and Moore's vote (MJRTY, 1981), which keeps one candidate a place, and then counted.
    """
    counts: Counter[Place] = Counter()
    leads: Counter[Place] = Counter()
    found: dict[Place, Around] = {}
    for place, parts in _places(read()):
        if not leads[place]:
            found[place] = parts
        leads[place] += 1 if found[place] == parts else -1
        counts[place] += 1
    agree = Counter({place: count for place, count in counts.items() if leads[place] == count})
    if len(agree) < len(counts):
        same = (place for place, parts in _places(read()) if found[place] == parts)
        agree.update(place for place in same if leads[place] < counts[place])
    return {
        place: parts if agree[place] > 1 and 2 * agree[place] > counts[place] else None
        for place, parts in found.items()
    }


def _places(rows: Iterable[Row]) -> Iterator[tuple[Place, Around]]:
    for task, text, messages in rows:
        for number, message in enumerate(messages):
            yield (task, number), around(text, message["content"])


def _holds(template: Around | None, text: str | None, content: str) -> bool:
    """Whether a message is the text within the template (`prepare` strips messages) and nothing else."""
    return template is not None and (text or "").join(template).strip() == content.strip()


def beside(row: Row, known: Templates) -> str | None:
    """What the row's messages hold beside its text and the templates, and may be of its record; None where nothing."""
    task, text, messages = row
    contents = [message["content"] for message in messages]
    found = [content for number, content in enumerate(contents) if not _holds(known[task, number], text, content)]
    return "\n".join(found) or None


def mended(row: Row, mends: Sequence[Mend], known: Templates) -> list[dict[str, Any]]:
    """The row's messages with every mend applied, in order, to what came from the record."""
    task, text, messages = row
    return [
        {**message, "content": _content(message["content"], text, mends, known[task, number])}
        for number, message in enumerate(messages)
    ]


def _content(content: str, text: str | None, mends: Sequence[Mend], template: Around | None) -> str:
    if template is None or not _holds(template, text, content):
        return _all(content, mends)
    return _all(text or "", mends).join(template)


def _all(text: str, mends: Sequence[Mend]) -> str:
    for mend in mends:
        text = mend(text)
    return text
