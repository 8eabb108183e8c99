"""New rows made of a row: another text or prompt, the same answer.

    {"row_id": "5f0c…", "text": "I am glad", "messages": [user: "Post: I am glad"], "label": "no", "parent_ids": []}
    → {"row_id": "b21d…", "text": "I am happy", "messages": [user: "Post: I am happy"], "label": "no",
       "parent_ids": ["5f0c…"]}

One file a method. What a row's children are depends on the row, the params and the seed, and on no other row.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Set
from typing import TYPE_CHECKING, Any, NamedTuple

from clew import rows
from clew.augmentation import prompts, synonyms, typos
from clew.augmentation.edits import Changed, NotMade, answer_words

if TYPE_CHECKING:
    from clew.answers import Render
    from clew.params_augment import TaskAugmentation

Row = dict[str, Any]


class Tools(NamedTuple):
    """What the making of rows wants beside the row."""

    key: bytes
    """Of row ids."""
    seed: int
    render: Render
    synonyms: Mapping[str, synonyms.Table]
    """By task."""
    held_back: Set[str]
    """Texts of valid and test, normalised: none may come into train."""


class Made(NamedTuple):
    """What a method made of a row, or why it made nothing. detail: what was changed, in a few words."""

    method: str
    row: Row | None
    detail: str


def children(row: Row, declared: TaskAugmentation, tools: Tools) -> Iterator[Made]:
    """The new rows of a row, each of another content than it and each other, and what could not be made."""
    seen = {row["row_id"]}
    for method, make in METHODS.items():
        settings = getattr(declared, method)
        for copy in range(settings.copies if settings else 0):
            try:
                changed = make(row, settings, tools, copy)
                child = row | dict(changed.columns) | {"annotations": None, "parent_ids": [row["row_id"]]}
                child["row_id"] = rows.content_id(child, tools.key)
                _check(row, child, seen, tools)
            except NotMade as reason:
                yield Made(method, None, str(reason))
            else:
                seen.add(child["row_id"])
                yield Made(method, child, changed.detail)


def _check(row: Row, child: Row, seen: Set[str], tools: Tools) -> None:
    if child["row_id"] in seen:
        raise NotMade("the_same_again")
    if child["text"] != row["text"] and rows.normalise(child["text"]) in tools.held_back:
        raise NotMade("a_text_of_valid_or_test")


def copy(row: Row, number: int, key: bytes) -> Row:
    """The same row under an id of its own: of its content and the copy's number."""
    content = {name: row[name] for name in rows.CONTENT}
    return row | {"row_id": rows.row_id(content | {"copy": number}, key), "parent_ids": [row["row_id"]]}


def _draw(tools: Tools, *what: object) -> random.Random:
    """A generator of the row's own, so that rows that come or go change no other row's children."""
    digest = hashlib.blake2b("\0".join(map(str, (tools.seed, *what))).encode(), digest_size=8).digest()
    return random.Random(int.from_bytes(digest))  # noqa: S311


def _synonyms(row: Row, settings: Any, tools: Tools, copy: int) -> Changed:
    draw = _draw(tools, "synonyms", copy, row["row_id"])
    return synonyms.changed(row, tools.synonyms[row["task"]], settings.rate, answer_words(row), draw)


def _typos(row: Row, settings: Any, tools: Tools, copy: int) -> Changed:
    return typos.changed(row, settings.rate, answer_words(row), _draw(tools, "typos", copy, row["row_id"]))


def _prompts(row: Row, settings: Any, tools: Tools, copy: int) -> Changed:
    order = list(range(len(settings.templates)))
    _draw(tools, "prompts", row["row_id"]).shuffle(order)
    return prompts.changed(row, settings.templates, order[copy], tools.render)


METHODS: dict[str, Callable[[Row, Any, Tools, int], Changed]] = {
    "synonyms": _synonyms,
    "typos": _typos,
    "prompts": _prompts,
}
