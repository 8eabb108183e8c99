"""What a model says to a row: the log-likelihood of each answer it may choose, or the text it writes.

Answers that share a prompt are scored in one pass. The prompt is followed by all of them side by side, and the
attention mask lets each token see the prompt and its own answer only, at the positions it would have alone:

    tokens     p0 p1 p2 | yes  | no
    positions   0  1  2 |  3   |  3        `yes` does not see `no`

The last token of an answer (the stop token) need not be fed: only its probability is asked for. And what the prompts of
a task begin with (the system message) is read once for all of them: its keys and values stand in the cache.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Question:
    """A prompt and the answers to score, in tokens, each answer with its stop token. `cut`: the prompt was cut."""

    prompt: list[int]
    answers: list[list[int]]
    cut: bool

    def __len__(self) -> int:
        return len(self.prompt) + sum(len(answer) - 1 for answer in self.answers)


def batches(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Indices in batches of at most `size`, longest first (what does not fit into memory fails at once)."""
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    for start in range(0, len(order), size):
        yield order[start : start + size]


@dataclass(frozen=True)
class Opening:
    """The first `length` tokens of some prompts, as the model has read them: a transformers cache of one row."""

    length: int
    cache: Any


def read_opening(model: Any, questions: Sequence[Question], share: float = 0.0) -> Opening | None:
    """What all prompts begin with, at most all but the last token of one, in one forward pass.

    None where that is less than `share` of their tokens, or nothing, or the model keeps anything else than keys and
    values of all tokens (a sliding window, a state).
    """
    import torch
    from transformers.cache_utils import DynamicLayer

    prompts = [question.prompt for question in questions]
    shortest = min(map(len, prompts))
    unlike = (at for at, ids in enumerate(zip(*prompts, strict=False)) if len(set(ids)) > 1)
    length = min(next(unlike, shortest), shortest - 1)
    if len(prompts) == 1 or length < max(1, share * sum(map(len, prompts)) / len(prompts)):
        return None
    ids = torch.tensor([prompts[0][:length]], device=model.device)
    with torch.inference_mode():
        cache = model(input_ids=ids, use_cache=True, logits_to_keep=1).get("past_key_values")
    whole = cache is not None and all(type(layer) is DynamicLayer for layer in cache.layers)
    return Opening(length, cache) if whole else None


def score(model: Any, questions: Sequence[Question], pad: int, opening: Opening | None = None) -> list[list[float]]:
    """Log-likelihood in nats of each answer of each question, summed over its tokens: one forward pass in all.

    opening: of these prompts, if it was read.
    """
    import torch

    read = 0 if opening is None else opening.length
    width = max(len(question.prompt) for question in questions) - read
    tail = max(len(question) - len(question.prompt) for question in questions)
    laid = [_lay_out(question, read, width, width + tail, pad) for question in questions]
    ids, positions, mask = (torch.stack(tensors).to(model.device) for tensors in zip(*laid, strict=True))
    with torch.inference_mode():
        output = model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=mask.unsqueeze(1),
            past_key_values=_of_rows(opening, len(questions)),
            use_cache=False,
            logits_to_keep=tail + 1,  # from the last token of the prompts, which all end in one column
        )
        log_p = torch.log_softmax(output.logits.float(), dim=-1).cpu()
    return [_read_off(question, log_p[row]) for row, question in enumerate(questions)]


def _of_rows(opening: Opening | None, rows: int) -> Any:
    """A cache of as many rows that holds the opening; the pass appends to it, so it is a copy."""
    if opening is None:
        return None
    cache = copy.deepcopy(opening.cache)
    cache.batch_repeat_interleave(rows)
    return cache


def _lay_out(question: Question, read: int, width: int, total: int, pad: int) -> tuple[Any, Any, Any]:
    """ids (total,), positions (total,) and mask (total, read + total) of what follows the first `read` tokens.

    The prompt ends in column width - 1 of the ids.
    """
    import torch

    prompt = question.prompt[read:]
    start = width - len(prompt)
    ids = torch.full((total,), pad)
    positions = torch.zeros(total, dtype=torch.long)
    mask = torch.eye(total, dtype=torch.bool)  # padding sees itself: a row of nothing would be NaN
    ids[start:width] = torch.tensor(prompt)
    positions[start:width] = torch.arange(read, len(question.prompt))
    mask[start:width, start:width] = torch.ones(len(prompt), len(prompt)).tril().bool()
    at = width
    for answer in question.answers:
        fed = len(answer) - 1
        here = slice(at, at + fed)
        ids[here] = torch.tensor(answer[:-1], dtype=torch.long)
        positions[here] = torch.arange(len(question.prompt), len(question.prompt) + fed)
        mask[here, start:width] = True
        mask[here, here] = torch.ones(fed, fed).tril().bool()
        at += fed
    return ids, positions, torch.cat((torch.ones(total, read, dtype=torch.bool), mask), dim=1)


def _read_off(question: Question, log_p: Any) -> list[float]:
    """log_p: (tail + 1, vocabulary); row 0 predicts every first token, row i what follows the i-th fed token."""
    found, at = [], 1
    for answer in question.answers:
        rows = [0, *range(at, at + len(answer) - 1)]
        found.append(float(log_p[rows, answer].sum()))
        at += len(answer) - 1
    return found


def generate(model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[str]:
    """The likeliest next token after the other until the stop token, for each prompt; the text without it."""
    import torch
    from transformers import GenerationConfig

    width = max(len(prompt) for prompt in prompts)
    pad = tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=pad,
        bos_token_id=tokenizer.bos_token_id,
    )
    with torch.inference_mode():
        written = model.generate(
            input_ids=ids.to(model.device), attention_mask=mask.to(model.device), generation_config=config
        )
    return [tokenizer.decode(answer, skip_special_tokens=True).strip() for answer in written[:, width:].cpu().tolist()]
