"""Supervised fine-tuning on prompt and completion: TRL's SFTTrainer, with a weight for each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from clew.errors import ModelError
from clew.training import data, fed, loop, processes
from clew.training.data import Example

OURS = ("weights", "rows", "examples")
"""What a batch holds beside the model's inputs."""


def make_dataset(
    examples: Sequence[Example],
    numbers: Sequence[int] | None = None,
    packs: Sequence[Sequence[int]] | None = None,
    fill: int = 0,
) -> Any:
    """Sequences of tokens, labels and weights as a datasets.Dataset in memory, which TRL takes as it is.

    numbers: how `Fed` counts each example, where one stands there several times. packs: the examples, by position, that
    each sequence holds end to end (see `data.pack`); None: one each. fill: so often the first stands there again at the
    end, weighs nothing and is not counted (see `processes.fill`).
    """
    from datasets import Dataset

    numbers = range(len(examples)) if numbers is None else numbers
    packs = [[index] for index in range(len(examples))] if packs is None else packs
    ends = len(packs)
    packs = [*packs, *[[packs[0][0]]] * fill]
    held = [[examples[index] for index in pack] for pack in packs]
    return Dataset.from_dict(
        {
            "input_ids": [[i for one in pack for i in one.prompt + one.completion] for pack in held],
            "labels": [[i for one in pack for i in data.labels(one)] for pack in held],
            "seq_lengths": [[len(one) for one in pack] for pack in held],
            "weight": [[one.weight * (at < ends) for one in pack] for at, pack in enumerate(held)],
            "example": [[numbers[index] if at < ends else -1 for index in pack] for at, pack in enumerate(packs)],
        }
    )


def make_collator(pad_token_id: int, packing: str) -> Any:
    """TRL's own collator, with the rows' `weights` beside its tensors, and `examples`: whose each token is.

    packing: `none` pads on the right; else all rows of the batch stand end to end in one sequence, their positions
    counted anew, and `rows` (1, tokens) says which row of the batch each token is of.
    """
    import torch
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    join = DataCollatorForLanguageModeling(pad_token_id=pad_token_id, padding_free=packing != "none")

    def collate(sequences: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = join(sequences)
        batch["weights"] = torch.tensor([w for sequence in sequences for w in sequence["weight"]], dtype=torch.float32)
        examples = torch.tensor([number for sequence in sequences for number in sequence["example"]])
        if packing == "none":
            batch["examples"] = fed.tokens_of(examples, batch["attention_mask"])
        else:
            lengths = torch.tensor([length for sequence in sequences for length in sequence["seq_lengths"]])
            row = torch.arange(len(lengths))
            batch["rows"] = row.repeat_interleave(lengths).unsqueeze(0)
            batch["examples"] = fed.tokens_of(examples, batch["rows"] == row.unsqueeze(1))
        return batch

    return collate


def weighted_loss(log_probs: Any, weights: Any, total: Any) -> Any:
    """Mean negative log-likelihood of the labelled tokens, each counted as much as its row weighs.

    log_probs: (sequences, tokens), zero where there is no label. weights: the same, or (sequences, 1). total: the
    weights of all labelled tokens of the step, over its micro-batches. With weights of 1 it is TRL's loss to the bit; a
    row of weight 0 is as one without labels.
    """
    return (-log_probs * weights).sum() / total.where(total > 0, total.new_ones(()))


def token_weight(batch: dict[str, Any]) -> Any:
    """The weights of all labelled tokens of a batch: a scalar tensor."""
    labelled = batch["labels"][:, 1:] != data.IGNORED
    if "rows" in batch:
        counts = batch["rows"][:, 1:][labelled].bincount(minlength=len(batch["weights"]))
    else:
        counts = labelled.sum(dim=1)
    return (counts * batch["weights"]).sum()


def prove_rows_apart(model: Any, collate: Any, examples: Sequence[Example]) -> None:
    """Put two rows into one sequence, change the first, and prove that nothing changes for the second.

    Raises ModelError where it does: recurrent layers and convolutions, for one, run on over the end of a row.
    """
    import torch

    first, second = sorted(examples, key=len)[:2]
    other = replace(first, prompt=[(i + 1) % 100 for i in first.prompt])
    found = []
    mode = model.training
    model.eval()
    with torch.no_grad():
        for before in (first, other):
            batch = inputs_of(collate(list(make_dataset([before, second]))))
            batch = {name: value.to(model.device) if hasattr(value, "to") else value for name, value in batch.items()}
            found.append(model(**batch, use_cache=False, fused_lm_head=True).log_probs[:, -len(second) :])
    model.train(mode)
    if not torch.allclose(found[0], found[1], rtol=0, atol=1e-6):
        raise ModelError(
            f"with {model.config._attn_implementation} attention, rows of one sequence see each other",
            where="sft.packing",
            fix="Set it to none for this model.",
        )


def inputs_of(batch: dict[str, Any]) -> dict[str, Any]:
    """What of a batch the model takes."""
    return {name: value for name, value in batch.items() if name not in OURS}


def make_trainer_class() -> Any:
    """SFTTrainer with row weights, and a validation loss that is the mean over all tokens, however batched."""
    from trl import SFTTrainer

    class RowTrainer(loop.Quiet, SFTTrainer):  # type: ignore[misc]
        """See `make_trainer_class`; every method is one that SFTTrainer or Trainer calls."""

        fed: fed.Fed
        measured: tuple[float, float] = (0.0, 0.0)
        loss_is_scaled_for_ga = True  # by the weights of the whole step, whatever the model's own forward takes

        def _get_num_items_in_batch(self, batch_samples: list[dict[str, Any]], device: Any) -> Any:
            return processes.total(sum(token_weight(batch) for batch in batch_samples).to(device))

        def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> Any:
            self.fed.add(inputs["examples"], (inputs["labels"] != data.IGNORED).expand_as(inputs["examples"]))
            return super().training_step(model, inputs, *args, **options)

        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            learns = self.model.training and num_items_in_batch is not None
            total = num_items_in_batch if learns else token_weight(inputs)
            weights = inputs["weights"][inputs["rows"][:, 1:]] if "rows" in inputs else inputs["weights"].unsqueeze(1)
            outputs = model(**inputs_of(inputs), use_cache=False, fused_lm_head=True)
            loss = weighted_loss(outputs.log_probs, weights, total)
            if learns:
                loss = loss * processes.count()  # the gradients of all are averaged
            elif not self.model.training:
                self.measured = (
                    self.measured[0] + float(loss) * float(total),
                    self.measured[1] + float(total),
                )
            return (loss, outputs) if return_outputs else loss

        def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **options: Any) -> Any:
            self.measured = (0.0, 0.0)
            output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **options)
            output.metrics[f"{metric_key_prefix}_loss"] = processes.mean(*self.measured)
            return output

    return RowTrainer
