"""What `align` learns from, whichever its algorithm: the rows, the trainer for them, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clew.errors import ModelError
from clew.training import processes
from clew.training.choice import Choice
from clew.training.loop import Fitted

STEPS = ("step", "reward", "margin", "kl", "length", "repetition", "distinct")
"""Columns of metrics/plots/align_steps.csv; an algorithm has some of them."""


@dataclass(frozen=True)
class Lesson:
    """choice: of the rows. examples: (row_id, cut) of those that the trainer counts as fed. fed: how many pairs, rated
    answers or drawn answers there are in all; batch_size of them make a step. longest: tokens of the longest of them.

    build(micro_batch_size, model, adapter, arguments of TRL's config) makes the trainer. metrics(fitted): what
    metrics/align.json says beside the algorithm. steps(fitted): lines of STEPS.
    """

    choice: Choice[Any]
    examples: Sequence[tuple[str, bool]]
    fed: int
    longest: int
    build: Callable[[int, Any, Any, dict[str, Any]], Any]
    metrics: Callable[[Fitted], dict[str, Any]]
    steps: Callable[[Fitted], list[Sequence[Any]]]


def shared(fitted: Fitted) -> dict[str, Any]:
    """What every algorithm tells: steps, parameters, loss."""
    logged = [entry for entry in fitted.history if "loss" in entry]
    return {
        "enabled": True,
        "steps": fitted.steps,
        "parameters": {
            "all": fitted.parameters,
            "trained": fitted.trainable,
            "share": fitted.trainable / fitted.parameters,
        },
        "loss": {"first": logged[0]["loss"], "last": logged[-1]["loss"]},
    }


def last(history: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was logged in the last quarter of the steps."""
    logged = [entry for entry in history if "loss" in entry]
    return logged[-max(1, len(logged) // 4) :]


def lines(history: Sequence[dict[str, Any]], named: dict[str, str]) -> list[Sequence[Any]]:
    """A line of STEPS for every step. named: column → the name under which the trainer logs it."""
    return [
        (int(entry["step"]), *(entry.get(named.get(column, "")) for column in STEPS[1:]))
        for entry in history
        if "loss" in entry
    ]


def with_reference(trainer: Any, dataset: Any, batch_size: int, columns: tuple[str, str]) -> Any:
    """The dataset with what the reference says: the log-probabilities of each row's two answers, under `columns`."""
    import torch
    from torch.utils.data import DataLoader
    from tqdm import tqdm

    found: tuple[list[Any], list[Any]] = ([], [])
    batches = DataLoader(dataset, batch_size=batch_size, collate_fn=trainer.data_collator)
    for batch in tqdm(batches, desc="reference", unit="batch", disable=not processes.is_main()):
        tensors = {
            name: tensor.to(trainer.accelerator.device)
            for name, tensor in batch.items()
            if name not in ("weights", "examples")
        }
        for part, logps in zip(found, trainer.compute_ref_log_probs(trainer.model, tensors), strict=True):
            part.append(logps.float().cpu())
    for column, part in zip(columns, found, strict=True):
        dataset = dataset.add_column(column, torch.cat(part).tolist())
    return dataset


def prove_reference(model: Any, batch: Mapping[str, Any]) -> None:
    """Raise ModelError unless the fresh adapter changes nothing: then adapter-off is the model of the sft stage.

    DoRA divides each weight by its length and multiplies again, which changes its last bits. A prompt or prefix begins
    as other input, and has nothing to prove: adapter-off is off.
    """
    import torch

    config = model.active_peft_config
    if config.is_prompt_learning:
        return
    exact = not getattr(config, "use_dora", False)

    tensors = {name: batch[name].to(model.device) for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        with_adapter = model(**tensors).logits
        with model.disable_adapter():
            without = model(**tensors).logits
    scale = without.abs().max()
    if not (torch.equal(with_adapter, without) if exact else (with_adapter - without).abs().max() < 0.02 * scale):
        raise ModelError(
            "the fresh adapter changes the model, so its reference would not be the sft model",
            where="models/sft",
            fix="Use the versions of the lock; align's adapter must start from zero.",
        )
