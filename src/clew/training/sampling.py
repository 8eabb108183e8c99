"""Answers drawn from a model, each from a seed of its own: the same bytes whatever stands beside it in the batch.

By the Gumbel trick (Gumbel, 1954): the largest of log p(token) + g, with g = -log(-log(u)) and u uniform, is a draw
from p. The u of an answer come from its own generator, on the CPU, so that neither a resumed run nor another device
draws others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any


def seed_of(seed: int, row_id: str, step: int, index: int) -> int:
    """The seed of one answer: of the run, the prompt, the step, and its place among the prompt's answers."""
    text = f"{seed} {row_id} {step} {index}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def sample(
    model: Any,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    temperature: float,
    max_new_tokens: int,
    stop: Sequence[int],
    pad: int,
) -> list[list[int]]:
    """An answer to each prompt, in tokens, up to and including a stop token where one was drawn in time."""
    import torch
    from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    class Draw(LogitsProcessor):  # type: ignore[misc]
        def __call__(self, _: Any, scores: Any) -> Any:
            uniform = torch.stack([torch.rand(scores.shape[-1], generator=g, dtype=torch.float64) for g in generators])
            gumbel = -torch.log(-torch.log(uniform.clamp_min(1e-300)))
            return scores.double() / temperature + gumbel.to(scores.device)

    width = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[pad] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    config = GenerationConfig(
        do_sample=False,  # the largest is the draw
        max_new_tokens=max_new_tokens,
        eos_token_id=list(stop),
        pad_token_id=pad,
    )
    with torch.no_grad():
        written = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            generation_config=config,
            logits_processor=LogitsProcessorList([Draw()]),
        )
    return [_to_stop(answer, stop) for answer in written[:, width:].cpu().tolist()]


def _to_stop(answer: list[int], stop: Sequence[int]) -> list[int]:
    end = next((place for place, token in enumerate(answer, 1) if token in stop), len(answer))
    return answer[:end]
