"""Rows as an encoder sees them: token ids, what is to be learnt of them, and the head that has an output for each.

    {"task": "stress", "text": "I cannot sleep", "label": "yes", "choices": ["yes", "no"]}
    {"task": "names", "tokens": ["Ada", "slept"], "tags": ["B-PER", "O"]}

An encoder reads a row's `text`, not its prompt: instructions are for models that write. One head serves all tasks of
an experiment. Of rows with labels it has an output for each task and label, `stress/yes`: a softmax over the outputs of
the row's own task, or a sigmoid each where a row may have several labels. Of rows with tags it has an output for each
tag; a word's tag is learnt at its first piece.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clew.answers import parted
from clew.errors import DataError, ModelError
from clew.training import data, fed

OUTSIDE = "O"
"""The tag of a word that is in no entity."""


@dataclass(frozen=True)
class Head:
    """classes: what each output stands for, `task/label` or a tag. tags: whether each word has one."""

    classes: tuple[str, ...]
    tags: bool

    def outputs(self, task: str, choices: Sequence[str]) -> list[int]:
        """The outputs for the labels of a task; DataError where the model was not trained on them."""
        try:
            return [self.classes.index(f"{task}/{choice}") for choice in choices]
        except ValueError:
            raise DataError(
                f"the model has no outputs for the labels of task `{task}`: it was not trained on them",
                where="models/sft/config.json, id2label",
                fix=f"Give the task rows in split.limits.{task}.train, or none in test.",
            ) from None


def head_for(rows: Sequence[Mapping[str, Any]], where: str) -> Head:
    """The head that rows need; DataError where some have tags and some have labels, or any has neither."""
    tagged = [row["tags"] is not None for row in rows]
    if all(tagged):
        tags = {tag for row in rows for tag in row["tags"]}
        return Head((OUTSIDE, *sorted(tags - {OUTSIDE})), tags=True)
    if any(tagged) or any(row["label"] is None for row in rows):
        raise DataError(
            "an encoder learns either labels or tags, and these rows hold something else, too",
            where=where,
            fix="Set split.limits so that only tasks of kind label and labels have rows, or only those of kind tags.",
        )
    choices: dict[str, dict[str, None]] = {}
    for row in rows:
        choices.setdefault(row["task"], {}).update(dict.fromkeys(row["choices"]))
    return Head(tuple(f"{task}/{label}" for task in sorted(choices) for label in choices[task]), tags=False)


def head_of(config: Any) -> Head:
    """The head of a model that was trained."""
    classes = tuple(config.id2label[number] for number in range(len(config.id2label)))
    return Head(classes, tags=config.architectures[0].endswith("ForTokenClassification"))


@dataclass(frozen=True)
class Encoded:
    """A row in tokens. targets: of tags the right output at each word's first piece, IGNORED elsewhere; of labels the
    right outputs, among those of its task (`allowed`). `cut`: it lost its end."""

    row_id: str
    ids: list[int]
    words: list[int | None]
    targets: list[int]
    allowed: list[int]
    several: bool
    weight: float
    cut: bool

    def __len__(self) -> int:
        return len(self.ids)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of an encoder's folder, checked to tell words apart and to have padding."""
    from transformers import AutoTokenizer

    try:  # add_prefix_space: byte-level tokenizers take a list of words only so
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, add_prefix_space=True)
    except (OSError, ValueError, KeyError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise ModelError(
            f"the tokenizer cannot be read ({first})", where=str(folder), fix="Run fetch_model again."
        ) from None
    if not tokenizer.is_fast or tokenizer.pad_token_id is None:
        raise ModelError(
            "the tokenizer has no padding, or cannot tell which word a piece is of",
            where=str(folder),
            fix="Take an encoder with tokenizer.json and a pad token, such as BERT's.",
        )
    return tokenizer


def encode(tokenizer: Any, row: Mapping[str, Any], head: Head, max_length: int) -> Encoded:
    """A row as Encoded of at most `max_length` tokens, special ones included; a longer one loses its end.

    A tag that the head does not know has no target: nothing can be learnt of it, and it is never predicted.
    """
    text = row["tokens"] if head.tags else row["text"]
    batch = tokenizer(text, is_split_into_words=head.tags, verbose=False)
    cut = len(batch["input_ids"]) > max_length
    if cut:
        batch = tokenizer(text, is_split_into_words=head.tags, truncation=True, max_length=max_length)
    words = batch.word_ids()
    several = row["labels"] is not None
    allowed: list[int] = []
    if head.tags:
        known = {tag: output for output, tag in enumerate(head.classes)}
        firsts = [word if word is not None and word not in words[:at] else None for at, word in enumerate(words)]
        targets = [data.IGNORED if word is None else known.get(row["tags"][word], data.IGNORED) for word in firsts]
    else:
        allowed = head.outputs(row["task"], row["choices"])
        firsts = []
        right = parted(row["label"], row["choices"]) if several else [row["label"]]
        targets = [allowed[row["choices"].index(label)] for label in right]
    return Encoded(row["row_id"], batch["input_ids"], firsts, targets, allowed, several, row["weight"], cut)


def make_dataset(rows: Sequence[Encoded], numbers: Sequence[int] | None = None, fill: int = 0) -> Any:
    """The rows as a datasets.Dataset in memory. numbers: how `Fed` counts each of them.

    fill: so often the first stands there again at the end, weighs nothing and is not counted (see `processes.fill`).
    """
    from datasets import Dataset

    numbers = [*(range(len(rows)) if numbers is None else numbers), *[-1] * fill]
    rows = [*rows, *[replace(rows[0], weight=0.0) for _ in range(fill)]]
    return Dataset.from_dict(
        {
            "input_ids": [row.ids for row in rows],
            "targets": [row.targets for row in rows],
            "allowed": [row.allowed for row in rows],
            "several": [row.several for row in rows],
            "weight": [row.weight for row in rows],
            "example": numbers,
        }
    )


def make_collator(head: Head, pad_token_id: int) -> Any:
    """Rows of the dataset as tensors, padded on the right.

    labels: of tags (rows, tokens), an output or IGNORED; else (rows, outputs), 1 where right. allowed (rows, outputs)
    and several (rows,) are of labels only. weights (rows,). examples (rows, tokens): whose each token is.
    """
    import torch

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        width = max(len(row["input_ids"]) for row in rows)
        ids = torch.full((len(rows), width), pad_token_id)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        size = width if head.tags else len(head.classes)
        labels = torch.full((len(rows), size), data.IGNORED if head.tags else 0)
        allowed = torch.zeros((len(rows), len(head.classes)), dtype=torch.bool)
        for at, row in enumerate(rows):
            ids[at, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
            mask[at, : len(row["input_ids"])] = 1
            if head.tags:
                labels[at, : len(row["targets"])] = torch.tensor(row["targets"])
            else:
                labels[at, row["targets"]] = 1
                allowed[at, row["allowed"]] = True
        batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
        if not head.tags:
            batch |= {"allowed": allowed, "several": torch.tensor([row["several"] for row in rows])}
        batch["weights"] = torch.tensor([row["weight"] for row in rows], dtype=torch.float32)
        batch["examples"] = fed.tokens_of(torch.tensor([row["example"] for row in rows]), mask)
        return batch

    return collate
