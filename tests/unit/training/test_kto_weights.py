"""Row weights in KTO's loss: 1 is TRL's loss, 0 is as if the answer were not there, in the KL estimate, too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from clew.training import data, device, kto, loop
from examples import tiny_model

CPU = device.Device("cpu", "float32", "sdpa")
ANSWERS = ("yes", "no", "maybe so", "rest a while", "no idea", "tea")


class Trained:
    """KTO's trainer over answers of the tiny model, which has moved away from its reference."""

    def __init__(self, folder: Path, where: Path) -> None:
        self.folder, self.where = folder, where
        self.tokenizer = device.load_tokenizer(folder)

    def gradient(
        self, weights: Sequence[float], kept: Sequence[int], *, weighted: bool = True
    ) -> tuple[Any, Any, float]:
        """Loss, gradient and KL estimate of one micro-batch of the answers `kept`, which weigh `weights`."""
        from trl import KTOConfig

        answers = [
            kto.Rated("stress", data.with_weight(self._example(n), weight), n % 2 == 0)
            for n, weight in zip(kept, weights, strict=True)
        ]
        dataset = kto.make_dataset(answers, range(len(answers)), len(answers), weighted=weighted)
        config = KTOConfig(
            **loop.arguments(tiny_model.align_params(method="full", lora=None), len(kept), 0, CPU, self.where),
            beta=0.5,
            desirable_weight=1.0,
            undesirable_weight=1.5,
            precompute_ref_log_probs=True,
        )
        trainer = kto.make_trainer_class(weighted=weighted)(
            model=device.load_model(self.folder, CPU, train="full"),
            args=config,
            data_collator=kto.make_collator(self.tokenizer.pad_token_id),
            train_dataset=dataset,
            processing_class=self.tokenizer,
        )
        torch.manual_seed(3)
        with torch.no_grad():
            for parameter in trainer.model.parameters():
                parameter += 0.02 * torch.randn(parameter.shape)
        batch = trainer.data_collator(list(trainer.train_dataset))
        del batch["examples"]
        total = trainer._get_num_items_in_batch([batch], torch.device("cpu")) if weighted else None
        if not weighted:
            del batch["weights"]
        trainer.model.train()
        loss = trainer.compute_loss(trainer.model, batch, num_items_in_batch=total)
        loss.backward()
        (kl,) = trainer._metrics["train"]["kl"]
        found = [p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None]
        return loss.detach(), torch.cat(found), kl

    def _example(self, number: int) -> data.Example:
        row = tiny_model.row(number, ANSWERS[number])
        return data.encode(self.tokenizer, row, 96, "align.max_length")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tiny_model.write(tmp_path_factory.mktemp("base"))
    return Trained(folder, tmp_path_factory.mktemp("runs"))


def _are_equal(one: tuple[Any, Any, float], other: tuple[Any, Any, float]) -> bool:
    return (
        torch.allclose(one[0], other[0], atol=1e-6)
        and float((one[1] - other[1]).abs().max()) < 1e-6
        and abs(one[2] - other[2]) < 1e-5
    )


def test_weights_of_one_are_trls_loss(trained: Trained) -> None:
    kept = [0, 1, 2, 3]
    plain = trained.gradient([1.0] * 4, kept, weighted=False)
    assert plain[2] > 0.01, "the model must have moved, else its KL estimate is 0 and the test says nothing"
    assert plain[1].abs().max() > 1e-3
    assert _are_equal(trained.gradient([1.0] * 4, kept), plain)


@pytest.mark.parametrize("absent", [0, 1, 3])
def test_an_answer_of_weight_zero_is_as_one_that_is_absent(trained: Trained, absent: int) -> None:
    """As the first, within and as the last of its micro-batch: the answers beside it are compared with each other."""
    kept = [0, 1, 2, 3, 4]
    weights = [1.0, 0.5, 1.0, 2.0, 1.0]
    zero = [0.0 if n == absent else weight for n, weight in enumerate(weights)]
    without = [n for n in kept if n != absent]
    there = trained.gradient(zero, kept)
    assert _are_equal(there, trained.gradient([weights[n] for n in without], without))
    assert not _are_equal(there, trained.gradient(weights, kept))


def test_only_how_weights_compare_counts_and_none_at_all_gives_zero(trained: Trained) -> None:
    kept = [0, 1, 2]
    assert _are_equal(trained.gradient([0.5, 1.0, 1.5], kept), trained.gradient([1.0, 2.0, 3.0], kept))
    loss, gradient, kl = trained.gradient([0.0, 0.0, 0.0], kept)
    assert loss == 0
    assert not gradient.any()
    assert kl == 0


def test_answers_of_weight_zero_are_passed_over_when_answers_are_compared() -> None:
    examples = [data.Example(str(n), [1, 2], [10 + n], float(n not in (1, 2)), False) for n in range(5)]
    answers = [kto.Rated("stress", example, True) for example in examples]
    other = [
        kto.make_dataset(answers, range(5), 5, weighted=weighted)["KL_completion_ids"] for weighted in (True, False)
    ]
    assert other[0] == [[14], [11], [12], [10], [13]]
    assert other[1] == [[14], [10], [11], [12], [13]]
