"""Preference training without a reward model: TRL's DPOTrainer (Rafailov et al., 2023, arXiv:2305.18290).

The reference is the model that training starts from: a new adapter is put on it, and without that adapter it is
the model as it was. Its log-probabilities are computed once, before the first step, for each pair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from clew.errors import DataError
from clew.training import choice, data, device, fed, lesson, loop, processes
from clew.training.data import Example
from clew.training.lesson import Lesson

if TYPE_CHECKING:
    from clew import params_training as params


@dataclass(frozen=True)
class Pair:
    """One prompt, the completion that is wanted and the one that is not; `chosen` and `rejected` share it."""

    task: str
    chosen: Example
    rejected: Example

    def __len__(self) -> int:
        return max(len(self.chosen), len(self.rejected))


def plan(align: params.Align, own: params.Dpo, where: device.Device, tokenizer: Any, rows: Any, seed: int) -> Lesson:
    """The pairs of `rows`, in the order in which they are fed."""

    def fit(row: choice.Row) -> Pair:
        return encode_pair(tokenizer, row, align.max_length, "align")

    chosen = choice.choose(rows, align.tasks, align.rows, choice.check_pair, fit, "align.tasks")
    pairs = sorted(chosen.items, key=len)
    order = data.feeding_order([len(pair) for pair in pairs], align.batch_size, align.epochs, seed, "align.epochs")
    if processes.count() > 1:  # TRL's losses are means of rows: each process must have as many
        order = order[: len(order) // align.batch_size * align.batch_size]
        if not order:
            what = f"{align.epochs} epochs of {len(pairs)} pairs are less than a step's {align.batch_size}"
            raise DataError(what, where="align.epochs", fix="Raise it, or lower align.batch_size.")

    def build(_: int, model: Any, adapter: Any, arguments: dict[str, Any]) -> Any:
        from trl import DPOConfig

        config = DPOConfig(
            **arguments,
            beta=own.beta,
            loss_type=own.loss,
            label_smoothing=own.label_smoothing,
            precompute_ref_log_probs=True,
        )
        trainer = make_trainer_class(weighted=own.row_weights)(
            model=model,
            args=loop.one_gpu_each(config),
            data_collator=make_collator(tokenizer.pad_token_id),
            train_dataset=make_dataset(pairs),
            processing_class=tokenizer,
            peft_config=adapter,
        )
        if adapter is not None:
            with where.autocast():  # flash attention takes no float32
                lesson.prove_reference(trainer.model, trainer.data_collator(list(make_dataset(pairs[:1]))))
        trainer.train_dataset = trainer.train_dataset.select(order)
        if not own.row_weights:  # else the weights of the whole step are counted
            loop.count_rows_alike(trainer)
        return trainer

    return Lesson(
        chosen,
        [(pair.chosen.row_id, pair.chosen.cut) for pair in pairs],
        len(order),
        2 * len(pairs[-1]),
        build,
        lambda fitted: _metrics(fitted, pairs, len(order)),
        lambda fitted: lesson.lines(fitted.history, {"margin": "rewards/margins"}),
    )


def _metrics(fitted: loop.Fitted, pairs: Sequence[Pair], fed: int) -> dict[str, Any]:
    tail = lesson.last(fitted.history)
    examples = [example for pair in pairs for example in (pair.chosen, pair.rejected)]
    return lesson.shared(fitted) | {
        "pairs": {"all": len(pairs), "fed": fed, **Counter(pair.task for pair in pairs)},
        "rows_cut": sum(pair.chosen.cut for pair in pairs),
        "tokens": sum(len(example) for example in examples),
        # Over the last quarter of the steps, each pair judged just before it was trained on.
        "reward_accuracy": sum(entry["rewards/accuracies"] for entry in tail) / len(tail),
        "reward_margin": sum(entry["rewards/margins"] for entry in tail) / len(tail),
    }


def encode_pair(tokenizer: Any, row: Mapping[str, Any], max_length: int, where: str) -> Pair:
    """A row as a pair in tokens; the prompt is cut alike on both sides where it must be.

    where: the section whose max_length it is. Raises Unfit where an answer does not fit.
    """
    try:
        chosen, rejected = (
            data.encode(tokenizer, row, max_length, f"{where}.max_length", completion=row[side])
            for side in ("completion", "rejected")
        )
    except data.TooLong as error:
        raise choice.Unfit("too_long", error.what) from None
    prompt = min(chosen.prompt, rejected.prompt, key=len)
    return Pair(row["task"], with_prompt(chosen, prompt), with_prompt(rejected, prompt))


def with_prompt(example: Example, prompt: list[int]) -> Example:
    """The example with another (shorter) prompt."""
    return replace(example, prompt=prompt, cut=example.cut or len(prompt) < len(example.prompt))


def make_dataset(pairs: Sequence[Pair]) -> Any:
    """The pairs in the columns that TRL's collator and `make_collator` read."""
    from datasets import Dataset

    return Dataset.from_dict(
        {
            "prompt_ids": [pair.chosen.prompt for pair in pairs],
            "chosen_ids": [pair.chosen.completion for pair in pairs],
            "rejected_ids": [pair.rejected.completion for pair in pairs],
            "weight": [pair.chosen.weight for pair in pairs],
            "example": list(range(len(pairs))),
        }
    )


def make_collator(pad_token_id: int) -> Any:
    """TRL's own collator (all chosen answers, then all rejected), with the rows' `weights` and `examples`: of which
    pair each token is."""
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    return fed.collator(DataCollatorForPreference(pad_token_id=pad_token_id), sequences=2)


def make_trainer_class(*, weighted: bool) -> Any:
    """DPOTrainer that takes pairs in tokens and computes the reference once for each pair of the dataset.

    weighted: the loss is the mean over the pairs of a step, each counted as much as its row weighs. TRL has no weights
    and several losses, so each pair's loss is asked for by itself.
    """
    import torch
    from trl import DPOTrainer

    class PairTrainer(loop.Quiet, DPOTrainer):  # type: ignore[misc]
        """See `make_trainer_class`; every method is one that DPOTrainer or Trainer calls."""

        fed: fed.Fed

        def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> Any:
            self.fed.add(inputs.pop("examples"), inputs["completion_mask"].bool(), copies=2)
            if not weighted:
                del inputs["weights"]
            return super().training_step(model, inputs, *args, **options)

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

        def _precompute_ref_logps(self, dataset: Any, _: str, batch_size: int) -> Any:
            return lesson.with_reference(self, dataset, batch_size, ("ref_chosen_logps", "ref_rejected_logps"))

    class WeightedTrainer(PairTrainer):
        """See `make_trainer_class`."""

        loss_is_scaled_for_ga = True  # by the weights of the whole step

        def _get_num_items_in_batch(self, batch_samples: list[dict[str, Any]], device: Any) -> Any:
            return sum(batch["weights"].sum() for batch in batch_samples).to(device)

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,  # noqa: ARG002 - Trainer's signature
            num_items_in_batch: Any = None,
        ) -> Any:
            weights = inputs.pop("weights")
            total = weights.sum() if num_items_in_batch is None else num_items_in_batch
            losses = [
                super(WeightedTrainer, self).compute_loss(model, _one(inputs, index, len(weights)))
                for index in range(len(weights))
            ]
            return (torch.stack(losses) * weights).sum() / total.where(total > 0, total.new_ones(()))

    return WeightedTrainer if weighted else PairTrainer


def _one(inputs: Mapping[str, Any], index: int, pairs: int) -> dict[str, Any]:
    """One pair of a batch. Tensors of tokens hold all chosen answers, then all rejected ones."""
    return {
        name: tensor[[index, index + pairs]] if len(tensor) == 2 * pairs else tensor[[index]]
        for name, tensor in inputs.items()
    }
