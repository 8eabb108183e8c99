"""Supervised fine-tuning on prompt and completion: TRL's SFTTrainer, with a weight for each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clew.training import data, fed
from clew.training.data import Example


def make_dataset(examples: Sequence[Example], numbers: Sequence[int] | None = None) -> Any:
    """Tokens, labels and weight of each example as a datasets.Dataset in memory, which TRL takes as it is.

    numbers: how `Fed` counts each of them, where an example stands there several times.
    """
    from datasets import Dataset

    return Dataset.from_dict(
        {
            "input_ids": [example.prompt + example.completion for example in examples],
            "labels": [data.labels(example) for example in examples],
            "weight": [example.weight for example in examples],
            "example": list(range(len(examples))) if numbers is None else list(numbers),
        }
    )


def make_collator(pad_token_id: int) -> Any:
    """TRL's own collator (padding on the right), with the rows' `weights` beside its tensors, and `examples`: whose
    each token is.
    """
    import torch
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    pad = DataCollatorForLanguageModeling(pad_token_id=pad_token_id)

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = pad(rows)
        batch["weights"] = torch.tensor([row["weight"] for row in rows], dtype=torch.float32)
        batch["examples"] = fed.tokens_of(torch.tensor([row["example"] for row in rows]), batch["attention_mask"])
        return batch

    return collate


def weighted_loss(log_probs: Any, weights: Any, total: Any) -> Any:
    """Mean negative log-likelihood of the labelled tokens, each counted as much as its row weighs.

    log_probs: (rows, tokens), zero where there is no label. weights: (rows,). total: the weights of all labelled
    tokens of the step, over its micro-batches. With weights of 1 it is TRL's loss to the bit; a row of weight 0 is
    as one without labels.
    """
    return (-log_probs * weights.unsqueeze(1)).sum() / total.where(total > 0, total.new_ones(()))


def token_weight(batch: dict[str, Any]) -> Any:
    """The weights of all labelled tokens of a batch: a scalar tensor."""
    labelled = (batch["labels"][:, 1:] != data.IGNORED).sum(dim=1)
    return (labelled * batch["weights"]).sum()


def make_trainer_class() -> Any:
    """SFTTrainer with row weights, and a validation loss that is the mean over all tokens, however batched."""
    from trl import SFTTrainer

    class RowTrainer(SFTTrainer):  # type: ignore[misc]
        """See `make_trainer_class`; every method is one that SFTTrainer or Trainer calls."""

        fed: fed.Fed
        measured: tuple[float, float] = (0.0, 0.0)
        loss_is_scaled_for_ga = True  # by the weights of the whole step, whatever the model's own forward takes

        def _send_telemetry(self) -> None:
            """Nothing leaves the machine."""

        def create_model_card(self, *_: Any, **__: Any) -> None:
            """Models are described by clew's own report."""

        def _get_num_items_in_batch(self, batch_samples: list[dict[str, Any]], device: Any) -> Any:
            return sum(token_weight(batch) for batch in batch_samples).to(device)

        def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> Any:
            self.fed.add(inputs["examples"], inputs["labels"] != data.IGNORED)
            return super().training_step(model, inputs, *args, **options)

        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            total = token_weight(inputs) if num_items_in_batch is None else num_items_in_batch
            weights = inputs["weights"]
            tensors = {name: tensor for name, tensor in inputs.items() if name not in ("weights", "examples")}
            outputs = model(**tensors, use_cache=False, fused_lm_head=True)
            loss = weighted_loss(outputs.log_probs, weights, total)
            if not self.model.training:
                self.measured = (
                    self.measured[0] + float(loss) * float(total),
                    self.measured[1] + float(total),
                )
            return (loss, outputs) if return_outputs else loss

        def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **options: Any) -> Any:
            self.measured = (0.0, 0.0)
            output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **options)
            output.metrics[f"{metric_key_prefix}_loss"] = self.measured[0] / max(self.measured[1], 1e-9)
            return output

    return RowTrainer
