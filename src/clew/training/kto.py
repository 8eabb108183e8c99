"""Learning from answers that are wanted or not, without pairs: TRL's KTOTrainer (Ethayarajh et al., 2024).

A row's completion is a wanted answer, its rejected answer an unwanted one; a row may have either or both:

    {"completion": "Rest.", "rejected": None, …}   →  one answer, wanted
    {"completion": None, "rejected": "Pray.", …}   →  one answer, unwanted
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clew.errors import DataError
from clew.training import choice, data, device, lesson, loop, processes
from clew.training import fed as feeding
from clew.training.data import Example
from clew.training.lesson import Lesson

if TYPE_CHECKING:
    from clew import params_training as params


@dataclass(frozen=True)
class Rated:
    """One answer, and whether it is wanted."""

    task: str
    example: Example
    wanted: bool

    def __len__(self) -> int:
        return len(self.example)


def plan(align: params.Align, own: params.Kto, where: device.Device, tokenizer: Any, rows: Any, seed: int) -> Lesson:
    """The answers of `rows`, in the order in which they are fed; DataError where all are wanted or all are not."""

    def fit(row: choice.Row) -> list[Rated]:
        return rated(tokenizer, row, align.max_length)

    chosen = choice.choose(rows, align.tasks, align.rows, check, fit, "align.tasks")
    answers = [answer for found in chosen.items for answer in found]
    classes = Counter(answer.wanted for answer in answers if answer.example.weight or not own.row_weights)
    if len(classes) < 2:
        raise DataError(
            f"all {classes.total()} answers are {'wanted' if classes[True] else 'unwanted'}: KTO learns from both",
            where="align.tasks",
            fix="Map rejected answers under prepare, or take algorithm: grpo, which needs none.",
        )
    order = _shuffled(len(answers), align.epochs, seed)
    order = order[: len(order) // align.batch_size * align.batch_size]  # an answer alone has none to be compared with
    if not order:
        what = f"{align.epochs} epochs of {len(answers)} answers are less than a step's {align.batch_size}"
        raise DataError(what, where="align.epochs", fix="Raise it, or lower align.batch_size.")

    def build(micro: int, model: Any, adapter: Any, arguments: dict[str, Any]) -> Any:
        from trl import KTOConfig

        config = KTOConfig(
            **arguments,
            beta=own.beta,
            desirable_weight=own.wanted_weight,
            undesirable_weight=own.unwanted_weight,
            precompute_ref_log_probs=True,
        )
        trainer = make_trainer_class(weighted=own.row_weights)(
            model=model,
            args=loop.one_gpu_each(config),
            data_collator=make_collator(tokenizer.pad_token_id),
            train_dataset=make_dataset(answers, order, micro * processes.count(), weighted=own.row_weights),
            processing_class=tokenizer,
            peft_config=adapter,
        )
        if adapter is not None:
            with where.autocast():  # flash attention takes no float32
                lesson.prove_reference(
                    trainer.model, trainer.data_collator(list(make_dataset(answers, order[:1], 1, weighted=False)))
                )
        return trainer

    return Lesson(
        chosen,
        [(answer.example.row_id, answer.example.cut) for answer in answers],
        len(order),
        2 * max(map(len, answers)),
        build,
        lambda fitted: _metrics(fitted, chosen, answers, len(order)),
        lambda fitted: lesson.lines(fitted.history, {"margin": "rewards/margins", "kl": "kl"}),
    )


def _shuffled(n: int, epochs: float, seed: int) -> list[int]:
    """Indices epoch after epoch, shuffled. Not by length, in which wanted and unwanted answers differ: a batch shall
    have both."""
    generator = random.Random(seed)  # noqa: S311 - an order, not a secret
    order: list[int] = []
    while len(order) < round(n * epochs):
        order += generator.sample(range(n), n)
    return order[: round(n * epochs)]


def _sides(row: choice.Row) -> list[tuple[str, bool]]:
    """The answers of a row, and whether each is wanted."""
    return [(row[side], side == "completion") for side in ("completion", "rejected") if row[side] is not None]


def check(row: choice.Row) -> None:
    """Raise Unfit for a row without an answer, with an empty one, or that both wants and does not want the same."""
    texts = [text.strip() for text, _ in _sides(row)]
    if not all(texts) or not texts:
        raise choice.Unfit("empty_answer")
    if len(set(texts)) < len(texts):
        raise choice.Unfit("same_answers", "the completion is the rejected answer")


def rated(tokenizer: Any, row: choice.Row, max_length: int) -> list[Rated]:
    """The answers of a row in tokens; Unfit where one does not fit."""
    try:
        return [
            Rated(row["task"], data.encode(tokenizer, row, max_length, "align.max_length", completion=text), wanted)
            for text, wanted in _sides(row)
        ]
    except data.TooLong as error:
        raise choice.Unfit("too_long", error.what) from None


def make_dataset(answers: Sequence[Rated], order: Sequence[int], micro_batch_size: int, *, weighted: bool) -> Any:
    """The answers in the columns that the collator reads, in the order in which they are fed.

    micro_batch_size: over all processes. `KL_completion_ids`: the answer of the one before in the same micro-batch (of
    the first, the last's), as TRL takes it to estimate how far the model has moved (Ethayarajh et al., 2024, section
    4.1). weighted: answers of weight 0 are passed over, as if they were not there.
    """
    from datasets import Dataset

    fed = [answers[index] for index in order]
    other: list[list[int]] = []
    for start in range(0, len(fed), micro_batch_size):
        batch = fed[start : start + micro_batch_size]
        there = [at for at, answer in enumerate(batch) if answer.example.weight or not weighted]
        before = {at: batch[there[place - 1]] for place, at in enumerate(there)}
        other += [before.get(at, answer).example.completion for at, answer in enumerate(batch)]
    return Dataset.from_dict(
        {
            "prompt_ids": [answer.example.prompt for answer in fed],
            "completion_ids": [answer.example.completion for answer in fed],
            "label": [answer.wanted for answer in fed],
            "KL_completion_ids": other,
            "weight": [answer.example.weight for answer in fed],
            "example": list(order),
        }
    )


def make_collator(pad_token_id: int) -> Any:
    """TRL's own collator, with the rows' `weights` and `examples`: of which answer each token is."""
    from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

    return feeding.collator(DataCollatorForUnpairedPreference(pad_token_id=pad_token_id))


def make_trainer_class(*, weighted: bool) -> Any:
    """KTOTrainer that takes answers in tokens, already paired with others, and keeps the reference in memory.

    weighted: the loss is the mean over the answers of a step, and how far the model has moved the mean over those of a
    micro-batch, each counted as much as its row weighs.
    """
    import torch
    from trl import KTOTrainer

    class AnswerTrainer(loop.Quiet, KTOTrainer):  # type: ignore[misc]
        """See `make_trainer_class`; every method is one that KTOTrainer or Trainer calls."""

        fed: feeding.Fed

        def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> Any:
            self.fed.add(inputs.pop("examples"), inputs["completion_mask"].bool())
            if not weighted:
                del inputs["weights"]
            return super().training_step(model, inputs, *args, **options)

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

        def _precompute_ref_logps(self, dataset: Any, _: str, batch_size: int) -> Any:
            return lesson.with_reference(self, dataset, batch_size, ("ref_logps", "ref_KL_logps"))

    class WeightedTrainer(AnswerTrainer):
        """See `make_trainer_class`. TRL multiplies losses by `desirable_weight` and `undesirable_weight`, which may as
        well be tensors, one number an answer."""

        loss_is_scaled_for_ga = True  # by the weights of the whole step
        weights: Any

        def _get_num_items_in_batch(self, batch_samples: list[dict[str, Any]], device: Any) -> Any:
            return processes.total(sum(batch["weights"].sum() for batch in batch_samples).to(device))

        def _compute_kl_logps(self, model: Any, batch: dict[str, Any]) -> Any:
            moved = super()._compute_kl_logps(model, batch) - batch["ref_KL_logps"]
            sums = torch.stack([(moved * self.weights).sum(), self.weights.sum()])
            moved_by, total = self.accelerator.reduce(sums, reduction="sum")
            batch["ref_KL_logps"] = moved.new_zeros(moved.shape)  # TRL subtracts it from what is returned here
            return (moved_by / _positive(total)).expand(moved.shape)

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,  # noqa: ARG002 - Trainer's signature
            num_items_in_batch: Any = None,
        ) -> Any:
            self.weights = inputs.pop("weights")
            total = self.weights.sum() if num_items_in_batch is None else num_items_in_batch
            wanted = inputs["label"].bool()
            self.desirable_weight = self.args.desirable_weight * self.weights[wanted]
            self.undesirable_weight = self.args.undesirable_weight * self.weights[~wanted]
            loss = super().compute_loss(model, inputs) * (len(wanted) / _positive(total))
            return loss * processes.count()  # the gradients of all are averaged

    return WeightedTrainer if weighted else AnswerTrainer


def _positive(total: Any) -> Any:
    """The total, or 1 where it is 0: what is divided by it is 0, too."""
    return total.where(total > 0, total.new_ones(()))


def _metrics(fitted: loop.Fitted, chosen: choice.Choice[Any], answers: Sequence[Rated], fed: int) -> dict[str, Any]:
    tail = lesson.last(fitted.history)
    return lesson.shared(fitted) | {
        "rows": {"all": len(chosen.rows), **Counter(str(row["task"]) for row in chosen.rows)},
        "answers": {
            "all": len(answers),
            "fed": fed,
            "wanted": sum(answer.wanted for answer in answers),
            "unwanted": sum(not answer.wanted for answer in answers),
        },
        "answers_cut": sum(answer.example.cut for answer in answers),
        # Over the last quarter of the steps, before each was trained on. kl: the loss's estimate, 0 or more.
        "reward_margin": _mean(tail, "rewards/margins"),
        "kl": _mean(tail, "kl"),
    }


def _mean(logged: Sequence[Mapping[str, Any]], name: str) -> float | None:
    values = [entry[name] for entry in logged if name in entry]
    return sum(values) / len(values) if values else None
