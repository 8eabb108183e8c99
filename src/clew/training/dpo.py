"""Preference training without a reward model: TRL's DPOTrainer (Rafailov et al., 2023, arXiv:2305.18290).

The reference is the model that training starts from: a new adapter is put on it, and without that adapter it is
the model as it was. Its log-probabilities are computed once, before the first step, for each pair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clew.errors import DataError, ModelError
from clew.training import data, fed
from clew.training.data import Example


@dataclass(frozen=True)
class Pair:
    """One prompt, the completion that is wanted and the one that is not; `chosen` and `rejected` share it."""

    task: str
    chosen: Example
    rejected: Example

    def __len__(self) -> int:
        return max(len(self.chosen), len(self.rejected))


def choose_pairs(rows: Sequence[Mapping[str, Any]], tasks: Sequence[str], limit: int) -> list[Mapping[str, Any]]:
    """At most `limit` rows with a rejected answer, as evenly from the tasks as they allow, by row_id.

    By row_id: a choice that does not change with the order of the rows. Raises DataError where a task has none.
    """
    left: dict[str, list[Mapping[str, Any]]] = {}
    for task in tasks:
        candidates = {row["row_id"]: row for row in rows if row["task"] == task and row["rejected"] is not None}
        if not candidates:
            raise DataError(
                f"no training row of task `{task}` has a rejected answer",
                where="align.tasks",
                fix=f"Set prepare.tasks.{task}.rejected: true, take the task out, or set align.enabled: false.",
            )
        left[task] = [candidates[row_id] for row_id in sorted(candidates)]
    chosen: list[Mapping[str, Any]] = []
    while len(chosen) < limit and any(left.values()):
        for task in tasks:
            if left[task] and len(chosen) < limit:
                chosen.append(left[task].pop(0))
    return chosen


def encode_pairs(tokenizer: Any, rows: Sequence[Mapping[str, Any]], max_length: int) -> list[Pair]:
    """The pairs in tokens; the prompt is cut alike on both sides where it must be."""
    pairs = []
    for row in rows:
        chosen, rejected = (
            data.encode(tokenizer, row, max_length, "align.max_length", completion=row[side])
            for side in ("completion", "rejected")
        )
        prompt = min(chosen.prompt, rejected.prompt, key=len)
        pairs.append(Pair(row["task"], with_prompt(chosen, prompt), with_prompt(rejected, prompt)))
    return pairs


def with_prompt(example: Example, prompt: list[int]) -> Example:
    """The example with another (shorter) prompt."""
    return replace(example, prompt=prompt, cut=example.cut or len(prompt) < len(example.prompt))


def make_dataset(pairs: Sequence[Pair]) -> Any:
    """The pairs in the columns that TRL's collator reads."""
    from datasets import Dataset

    return Dataset.from_dict(
        {
            "prompt_ids": [pair.chosen.prompt for pair in pairs],
            "chosen_ids": [pair.chosen.completion for pair in pairs],
            "rejected_ids": [pair.rejected.completion for pair in pairs],
            "example": list(range(len(pairs))),
        }
    )


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


def make_collator(pad_token_id: int) -> Any:
    """TRL's own collator (all chosen answers, then all rejected), with `examples`: of which pair each token is."""
    import torch
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    pad = DataCollatorForPreference(pad_token_id=pad_token_id)

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = pad(rows)
        numbers = torch.tensor([row["example"] for row in rows] * 2)
        return batch | {"examples": fed.tokens_of(numbers, batch["attention_mask"])}

    return collate


def make_trainer_class() -> Any:
    """DPOTrainer that takes pairs in tokens and computes the reference once for each pair of the dataset."""
    import torch
    from torch.utils.data import DataLoader
    from tqdm import tqdm
    from trl import DPOTrainer

    class PairTrainer(DPOTrainer):  # type: ignore[misc]
        """See `make_trainer_class`; every method is one that DPOTrainer calls."""

        fed: fed.Fed

        def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> Any:
            self.fed.add(inputs.pop("examples"), inputs["completion_mask"].bool(), copies=2)
            return super().training_step(model, inputs, *args, **options)

        def _send_telemetry(self) -> None:
            """Nothing leaves the machine."""

        def create_model_card(self, *_: Any, **__: Any) -> None:
            """Models are described by clew's own report."""

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

        def _precompute_ref_logps(self, dataset: Any, _: str, batch_size: int) -> Any:
            loader = DataLoader(dataset, batch_size=batch_size, collate_fn=self.data_collator)
            chosen, rejected = [], []
            for batch in tqdm(loader, desc="reference", unit="batch"):
                tensors = {key: tensor.to(self.accelerator.device) for key, tensor in batch.items()}
                of_chosen, of_rejected = self.compute_ref_log_probs(self.model, tensors)
                chosen.append(of_chosen.float().cpu())
                rejected.append(of_rejected.float().cpu())
            columns = {"ref_chosen_logps": torch.cat(chosen), "ref_rejected_logps": torch.cat(rejected)}
            for column, values in columns.items():
                dataset = dataset.add_column(column, values.tolist())
            return dataset

    return PairTrainer
