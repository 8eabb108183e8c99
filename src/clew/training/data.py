"""Rows as the model sees them: token ids of prompt and completion, and the order in which they are fed.

    {"messages": [{"role": "user", "content": "Post: … Stressed?"}], "completion": "yes", …}

becomes, with SmolLM2's template, the prompt ``<|im_start|>user … <|im_end|>\\n<|im_start|>assistant\\n`` and the
completion ``yes<|im_end|>``. One function makes both for training and for scoring, so that they cannot differ.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clew.errors import DataError, ModelError

MIN_PROMPT = 16  # tokens of the prompt that must stay, else a row says nothing
CHUNK_BATCHES = 16  # batches among which rows are sorted by length
IGNORED = -100  # the label of a token without a loss, as torch and TRL have it


class TooLong(DataError):  # noqa: N818 - a row's verdict
    """A completion that leaves no room for its prompt: nothing of it is cut, so the row cannot be fed."""


@dataclass(frozen=True)
class Example:
    """A prompt and the completion to learn or to score; `cut` tells that the prompt lost its middle."""

    row_id: str
    prompt: list[int]
    completion: list[int]
    weight: float
    cut: bool

    def __len__(self) -> int:
        return len(self.prompt) + len(self.completion)


def prompt_ids(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> list[int]:
    """Token ids of the messages and of what opens the answer."""
    return _ids(tokenizer, messages, opens_answer=True)


def completion_ids(
    tokenizer: Any, messages: Sequence[Mapping[str, str]], completion: str, prompt: list[int] | None = None
) -> list[int]:
    """Token ids of an answer to `messages`, up to and including the stop token. prompt: their ids, where known.

    What the template writes after the stop token (often a newline) is never generated, so it is not learnt either.
    Raises ModelError where the template writes the answer otherwise than after the prompt, or does not end it.
    """
    prompt = prompt_ids(tokenizer, messages) if prompt is None else prompt
    answer = [*messages, {"role": "assistant", "content": completion}]
    whole = _ids(tokenizer, answer, opens_answer=False)
    if whole[: len(prompt)] != prompt:
        raise ModelError(
            "the chat template writes an answered prompt otherwise than an open one",
            where="chat_template.jinja",
            fix="Use a template whose generation prompt is what stands before an answer.",
        )
    ids = whole[len(prompt) :]
    stop = tokenizer.eos_token_id
    if stop not in ids:
        raise ModelError(
            f"the chat template does not end an answer with the stop token {tokenizer.eos_token!r}",
            where="chat_template.jinja",
            fix="Set eos_token in tokenizer_config.json to the token that ends a turn.",
        )
    return ids[: len(ids) - ids[::-1].index(stop)]


def _ids(tokenizer: Any, messages: Sequence[Mapping[str, str]], *, opens_answer: bool) -> list[int]:
    from jinja2 import TemplateError

    try:
        text = tokenizer.apply_chat_template(
            [dict(message) for message in messages], tokenize=False, add_generation_prompt=opens_answer
        )
    except TemplateError as error:
        raise ModelError(
            f"the chat template refuses the messages ({error})",
            where="chat_template.jinja",
            fix="Set `system: null` under prepare.tasks if the template knows no system message.",
        ) from None
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def encode(
    tokenizer: Any, row: Mapping[str, Any], max_length: int, where: str, *, completion: str | None = None
) -> Example:
    """A row as an Example of at most `max_length` tokens, with `completion` instead of its own where given.

    where: the param that sets max_length, for errors. A longer prompt loses its middle (instructions stand at both
    its ends) and is marked `cut`; a completion is never cut: where it does not fit, TooLong.
    """
    messages = row["messages"]
    prompt = prompt_ids(tokenizer, messages)
    answer = completion_ids(tokenizer, messages, row["completion"] if completion is None else completion, prompt)
    room = max_length - len(answer)
    if room < min(len(prompt), MIN_PROMPT):
        raise TooLong(
            f"the completion alone has {len(answer)} tokens, and a row may have {max_length}",
            where=f"row {row['row_id'][:12]} of task {row['task']}",
            fix=f"Raise {where}, or drop such rows in clean.",
        )
    return Example(row["row_id"], cut_middle(prompt, room), answer, row["weight"], len(prompt) > room)


def cut_middle(ids: list[int], room: int) -> list[int]:
    """The ids without their middle, where there are more than `room`.

    >>> cut_middle([1, 2, 3, 4, 5, 6, 7], 4)
    [1, 2, 6, 7]
    """
    if len(ids) <= room:
        return ids
    tail = room - room // 2
    return ids[: room // 2] + ids[len(ids) - tail :]


def with_weight(example: Example, weight: float) -> Example:
    """The example with another weight."""
    return replace(example, weight=weight)


def labels(example: Example) -> list[int]:
    """What each token is trained to be: itself in the completion, ignored in the prompt."""
    return [IGNORED] * len(example.prompt) + example.completion


def feeding_order(lengths: Sequence[int], batch_size: int, epochs: float, seed: int, where: str) -> list[int]:
    """Indices in the order in which they are fed, epoch after epoch (the last epoch may be a part).

    Rows are shuffled each epoch; within chunks of 16 batches they are put into batches of like length, which saves
    padding, and the batches are shuffled again. Every batch but the very last is full: what an epoch leaves over begins
    the next. No batch holds a row twice, where there are rows enough for one.

    where: the param that sets the epochs, for the DataError where they are less than one row.
    """
    generator = random.Random(seed)  # noqa: S311 (an order, not a secret)
    total = round(len(lengths) * epochs)
    if not total:
        raise DataError(f"{epochs} epochs of {len(lengths)} rows are no row", where=where, fix="Raise it.")
    order: list[int] = []
    over: list[int] = []
    chunk = CHUNK_BATCHES * batch_size
    while len(order) + len(over) < total:
        indices = list(range(len(lengths)))
        generator.shuffle(indices)
        indices.sort(key=set(over).__contains__)  # a row that is left over comes late
        indices = indices[: total - len(order) - len(over)]
        if over:
            first = batch_size - len(over)
            order, indices, over = [*order, *over, *indices[:first]], indices[first:], []
        for start in range(0, len(indices), chunk):
            some = sorted(indices[start : start + chunk], key=lambda i: (-lengths[i], i))
            batches = [some[at : at + batch_size] for at in range(0, len(some), batch_size)]
            over = batches.pop() if len(batches[-1]) < batch_size else []
            generator.shuffle(batches)
            order += [index for batch in batches for index in batch]
    return order + over


def pack(lengths: Sequence[int], order: Sequence[int], room: int, window: int, seed: int) -> list[list[int]]:
    """Positions within `order` in sequences of at most `room` tokens, each row whole and there once.

    Best-fit decreasing among every `window` rows of the order: the longest row first, each into the fullest sequence
    that has room for it (Johnson, 1974; Ding et al., 2024, for training). The sequences of a window are shuffled.
    """
    generator = random.Random(seed)  # noqa: S311 (an order, not a secret)
    packs: list[list[int]] = []
    for start in range(0, len(order), window):
        inside: list[list[int]] = []
        left: list[int] = []
        for at in sorted(range(start, min(start + window, len(order))), key=lambda at: (-lengths[order[at]], at)):
            fits = [index for index, free in enumerate(left) if free >= lengths[order[at]]]
            if fits:
                chosen = min(fits, key=left.__getitem__)
            else:
                chosen = len(left)
                inside.append([])
                left.append(room)
            inside[chosen].append(at)
            left[chosen] -= lengths[order[at]]
        generator.shuffle(inside)
        packs += inside
    return packs


def prove_completion_only(tokenizer: Any, examples: Sequence[Example], batch: Mapping[str, Any]) -> None:
    """Read a batch as the trainer's collator made it from `examples`, and prove what is trained.

    Raises ModelError unless the labels are the whole completion with its stop token, and nothing of the prompt.
    """
    for index, example in enumerate(examples):
        here = batch["rows"] == index if "rows" in batch else index  # of a sequence that holds all rows, or a row's own
        labels = batch["labels"][here].tolist()
        trained = [i for i in labels if i != IGNORED]
        seen = batch["input_ids"][here][: len(example)].tolist()
        first = next((at for at, i in enumerate(labels) if i != IGNORED), -1)
        attended = "rows" in batch or bool(batch["attention_mask"][index][first])
        reason = None
        if not trained or trained[-1] != tokenizer.eos_token_id:
            reason = "the stop token is not trained"
        elif first != len(example.prompt) or trained != example.completion:
            reason = f"what is trained is {tokenizer.decode(trained)!r}"
        elif seen != example.prompt + example.completion or not attended:
            reason = "the collator altered the tokens"
        if reason is not None:
            raise ModelError(
                f"{reason}, where {tokenizer.decode(example.completion)!r} was meant",
                where=f"row {example.row_id[:12]}",
                fix="The tokenizer, the chat template and this version of TRL do not fit: use those of the lock.",
            )
