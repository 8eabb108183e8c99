"""What is to be answered: a record's completion, label, choices and rejected answer, for each kind of mapping.

{"text": "…", "ratings": [1, 1, 0]}, annotations "{{ ratings }}", values {"1": yes, "0": no}
→ label yes, annotations [{annotator: "1", label: yes}, …]
{"feelings": ["2", "0"]}, labels feelings, values {"0": anger, "1": fear, "2": joy} → label "anger, joy"
{"answer": "Pray.", "thumb": "down"}, thumb "{{ thumb }}", values {down: false}  → completion null, rejected "Pray."
{"words": ["in", "Rome"], "tags": ["O", "B-LOC"]}, entity "{{ type }}: {{ text }}"  → completion "LOC: Rome"
"""

from __future__ import annotations

import json
import math
import random
import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clew import params, params_data

Record = dict[str, Any]
Render = Callable[[str, Mapping[str, Any]], str]
Draw = Callable[[], random.Random]

LONGEST = 60
"""Characters of a value that a ledger shows."""
NO_LABEL = "none"
"""What a row without labels answers, in a task of kind `labels`."""


class Unfit(Exception):  # noqa: N818 - a record's verdict, not an error of the program
    """A record that does not fit its mapping: reason (a word for counting) and detail (what was found)."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def _label(mapping: params.LabelMapping, record: Record, render: Render, draw: Draw) -> Record:
    choices = list(dict.fromkeys(mapping.values.values()))
    annotations = None if mapping.annotations is None else _annotations(mapping, render(mapping.annotations, record))
    if mapping.label is not None:
        found = render(mapping.label, record)
        label = None if not found and found not in mapping.values else _known(mapping, found)
    else:
        label = _majority(annotations or [], choices)
    others = [choice for choice in choices if choice != label]
    rejected = None
    if mapping.rejected and others and label is not None:
        rejected = draw().choice(others) if len(others) > 1 else others[0]
    return {
        "completion": label,
        "label": label,
        "choices": choices,
        "rejected": rejected,
        "annotations": annotations,
    }


def _known(mapping: params.LabelMapping | params.LabelsMapping, found: str) -> str:
    if found not in mapping.values:
        raise Unfit("unknown_label", found[:LONGEST])
    return mapping.values[found]


def _annotations(mapping: params.LabelMapping, written: str) -> list[dict[str, str]]:
    """Who gave which label, from JSON: `["1", "0", null]`, numbered by place from 1, or `{"ada": "1", "bo": "0"}`."""
    try:
        found = json.loads(written)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, list):
        found = {str(place): label for place, label in enumerate(found, 1)}
    if not isinstance(found, dict):
        raise Unfit("annotations", written[:LONGEST])
    given = {
        name: label if isinstance(label, str) else json.dumps(label)
        for name, label in found.items()
        if label is not None
    }
    return [{"annotator": name, "label": _known(mapping, label)} for name, label in given.items()]


def _majority(annotations: list[dict[str, str]], choices: list[str]) -> str:
    """The label given most often; of several the first of the choices."""
    counts = Counter(one["label"] for one in annotations)
    if not counts:
        raise Unfit("no_annotations", "nobody gave a label")
    return max(choices, key=counts.__getitem__)


def _labels(mapping: params.LabelsMapping, record: Record, render: Render, draw: Draw) -> Record:  # noqa: ARG001
    """An empty list says that no label applies; an empty cell, that none is known."""
    choices = list(dict.fromkeys(mapping.values.values()))
    written = record[mapping.labels]
    is_known = not isinstance(written, str) or bool(written.strip())
    found = {_known(mapping, str(label)) for label in _list(record, mapping.labels)}
    labels = [choice for choice in choices if choice in found]
    answer = joined(labels) if is_known else None
    return {"completion": answer, "label": answer, "choices": choices, "rejected": None, "labels": labels}


def joined(labels: Sequence[str]) -> str:
    """Several labels as one answer.

    >>> joined(["anger", "joy"]), joined([])
    ('anger, joy', 'none')
    """
    return ", ".join(labels) or NO_LABEL


def parted(answer: str, choices: Sequence[str]) -> list[str]:
    """The labels that an answer names, in the order of `choices`; words that are none are passed over.

    >>> parted("joy, anger,Fear", ["anger", "joy"])
    ['anger', 'joy']
    """
    named = {part.strip() for part in answer.split(",")}
    return [choice for choice in choices if choice in named]


def as_label(written: str, choices: Sequence[str], *, several: bool) -> str | None:
    """A label that a person wrote as a row's `label` holds it; None where it is none of the row's choices.

    >>> as_label("joy,anger", ["anger", "joy"], several=True)
    'anger, joy'
    """
    if not several:
        return written if written in choices else None
    named = [] if written == NO_LABEL else [part.strip() for part in written.split(",")]
    return joined(parted(written, choices)) if all(part in choices for part in named) else None


def _options(mapping: params.OptionsMapping, record: Record, render: Render, draw: Draw) -> Record:
    front = re.compile(mapping.strip)
    options = [_without(front, line) for line in render(mapping.options, record).splitlines() if line.strip()]
    answer = _without(front, render(mapping.answer, record))
    if not 2 <= len(options) <= len(string.ascii_uppercase):
        raise Unfit("number_of_options", str(len(options)))
    if answer and options.count(answer) != 1:
        raise Unfit("answer_not_one_of_the_options", answer[:LONGEST])
    drawn = draw()
    if mapping.shuffle:
        drawn.shuffle(options)
    letters = list(string.ascii_uppercase[: len(options)])
    label = letters[options.index(answer)] if answer else None
    others = [letter for letter in letters if letter != label]
    shown = "\n".join(f"{letter}. {option}" for letter, option in zip(letters, options, strict=True))
    return {
        "completion": label,
        "label": label,
        "choices": letters,
        "rejected": drawn.choice(others) if mapping.rejected and label else None,
        "options": options,
        "shown": {"options": shown},
    }


def _without(front: re.Pattern[str], line: str) -> str:
    found = front.match(line)
    return line[found.end() if found else 0 :].strip()


def _text(mapping: params.TextMapping, record: Record, render: Render, draw: Draw) -> Record:  # noqa: ARG001
    rejected = None if mapping.rejected is None else render(mapping.rejected, record)
    answer = render(mapping.completion, record)
    row = {"completion": answer, "label": None, "choices": None, "rejected": rejected or None}
    if mapping.wanted is None or _is_wanted(mapping.wanted, render(mapping.wanted.thumb, record)):
        return row
    return row | {"completion": None, "rejected": answer}


def _is_wanted(declared: params_data.Wanted, thumb: str) -> bool:
    if thumb not in declared.values:
        raise Unfit("unknown_thumb", thumb[:LONGEST])
    return declared.values[thumb]


def _rating(mapping: params.RatingsMapping, record: Record, render: Render, draw: Draw) -> Record:  # noqa: ARG001
    """One rating: `ratings` puts those of a prompt together. The rater's name is empty where none is declared."""
    written, answer = render(mapping.rating, record), render(mapping.response, record)
    try:
        value = float(written)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Unfit("rating", "not a number")
    if not answer:
        raise Unfit("empty_answer", "no text")
    rater = "" if mapping.rater is None else render(mapping.rater, record)
    return {
        "completion": answer,
        "label": None,
        "choices": None,
        "rejected": None,
        "annotations": [{"annotator": rater, "label": repr(value)}],
    }


def _tags(mapping: params.TagsMapping, record: Record, render: Render, draw: Draw) -> Record:  # noqa: ARG001
    tokens = [str(token) for token in _list(record, mapping.tokens)]
    tags = [_tag(mapping, tag) for tag in _list(record, mapping.tags)]
    if len(tokens) != len(tags):
        raise Unfit("tags_do_not_match_tokens", f"{len(tokens)} tokens, {len(tags)} tags")
    found = [render(mapping.entity, {"type": kind, "text": text}) for kind, text in entities(tokens, tags)]
    return {
        "completion": "\n".join(found) or mapping.nothing,
        "label": None,
        "choices": None,
        "rejected": None,
        "tokens": tokens,
        "tags": tags,
    }


def _list(record: Record, column: str) -> list[Any]:
    """A column's list: as it is, as JSON, or the words of a text."""
    found = record[column]
    if isinstance(found, str):
        try:
            found = json.loads(found) if found.lstrip().startswith("[") else found.split()
        except (ValueError, RecursionError):
            found = found.split()
    if not isinstance(found, list):
        raise Unfit("no_list", f"{column}: {found}"[:LONGEST])
    return found


def _tag(mapping: params.TagsMapping, found: Any) -> str:
    if mapping.names is None:
        return str(found)
    try:
        place = int(found)
    except (TypeError, ValueError):
        place = -1
    if not 0 <= place < len(mapping.names):
        raise Unfit("unknown_tag", str(found)[:LONGEST])
    return mapping.names[place]


def entities(tokens: Sequence[str], tags: Sequence[str]) -> list[tuple[str, str]]:
    """(type, text) of the tagged spans. BIO, BIOES, BILOU, or bare types, where neighbours of one type are one span.

    >>> entities(["Ada", "Byron", "in", "Rome"], ["B-PER", "I-PER", "O", "B-LOC"])
    [('PER', 'Ada Byron'), ('LOC', 'Rome')]
    """
    spans: list[tuple[str, list[str]]] = []
    inside = None
    for token, tag in zip(tokens, tags, strict=True):
        place, kind = (tag[0], tag[2:]) if tag[1:2] == "-" and tag[0] in "BIESLU" else ("I", tag)
        if tag in ("O", ""):
            inside = None
            continue
        if kind != inside or place in "BSU":
            spans.append((kind, []))
        spans[-1][1].append(token)
        inside = None if place in "ESLU" else kind
    return [(kind, " ".join(words)) for kind, words in spans]


ANSWERS: dict[str, Callable[[Any, Record, Render, Draw], Record]] = {
    "label": _label,
    "labels": _labels,
    "options": _options,
    "text": _text,
    "tags": _tags,
    "ratings": _rating,
}
"""kind of mapping → completion, label, choices and rejected of a record; annotations, labels, options, or tokens and
tags."""
