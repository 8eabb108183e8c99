"""What methods share: another text within a row, and the words that stay because the answer rests on them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from typing import Any, NamedTuple

WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
"""Letters, with apostrophes within."""


class NotMade(Exception):  # noqa: N818 - a row of which nothing is made, not an error of the program
    """Why a method makes nothing of a row: a word for counting."""


class Changed(NamedTuple):
    """The columns that are new, and what was done, in a few words."""

    columns: Mapping[str, Any]
    detail: str


def answer_words(row: Mapping[str, Any]) -> Set[str]:
    """The words of a row's answer, choices, options and rejected answer, in lower case."""
    answers = [row["completion"], row["rejected"], *(row["choices"] or ()), *(row["options"] or ())]
    return {word.lower() for answer in answers if answer for word in WORD.findall(answer)}


def with_text(row: Mapping[str, Any], text: str, detail: str) -> Changed:
    """The row with another text, in the user's last message too; NotMade where it does not stand there just once."""
    messages = with_prompt(row, lambda prompt: _replaced(prompt, row["text"], text))
    return Changed({"text": text, "messages": messages}, detail)


def _replaced(prompt: str, old: str, new: str) -> str:
    before, found, after = prompt.partition(old)
    if not found or old in after:
        raise NotMade("text_not_once_in_prompt")
    return before + new + after


def prompt_of(row: Mapping[str, Any]) -> str:
    """The user's last message."""
    said = [message["content"] for message in row["messages"] or () if message["role"] == "user"]
    if not said:
        raise NotMade("no_prompt")
    return str(said[-1])


def with_prompt(row: Mapping[str, Any], change: Any) -> list[dict[str, str]]:
    """The messages with `change` applied to the user's last one."""
    new = change(prompt_of(row))
    place = max(i for i, message in enumerate(row["messages"]) if message["role"] == "user")
    return [
        {"role": message["role"], "content": new if i == place else message["content"]}
        for i, message in enumerate(row["messages"])
    ]
