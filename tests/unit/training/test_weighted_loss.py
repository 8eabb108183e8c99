"""Row weights in the loss: 1 is TRL's loss to the bit, 0 is as if the row had no labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from clew.training import data, device, loop
from clew.training import sft as training
from examples import tiny_model

CPU = device.Device("cpu", "float32", "sdpa")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.write(tmp_path_factory.mktemp("base"))


def _trainer(folder: Path, where: Path, trainer_class: Any, collator: Any = None) -> Any:
    from trl import SFTConfig

    tokenizer = device.load_tokenizer(folder)
    examples = [data.encode(tokenizer, row, 96, "sft.max_length") for row in tiny_model.rows(4)]
    arguments = loop.arguments(tiny_model.sft_params(), 4, 0, CPU, where)
    return trainer_class(
        model=device.load_model(folder, CPU, train="full"),
        args=SFTConfig(**arguments),
        data_collator=collator,
        train_dataset=training.make_dataset(examples),
        processing_class=tokenizer,
    )


def _batch(weights: list[float]) -> dict[str, Any]:
    torch.manual_seed(1)
    ids = torch.randint(0, 256, (len(weights), 12))
    labels = ids.clone()
    labels[:, :5] = data.IGNORED
    labels[1, :9] = data.IGNORED
    return {
        "input_ids": ids,
        "labels": labels,
        "attention_mask": torch.ones_like(ids),
        "weights": torch.tensor(weights),
    }


def _loss_and_gradient(trainer: Any, batch: dict[str, Any]) -> tuple[Any, Any]:
    trainer.model.train()
    trainer.model.zero_grad()
    total = trainer._get_num_items_in_batch([batch], torch.device("cpu"))
    loss = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=total)
    loss.backward()
    return loss.detach(), torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])


@pytest.fixture(scope="module")
def trainer(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    where = tmp_path_factory.mktemp("ours")
    return _trainer(folder, where, training.make_trainer_class(), training.make_collator(258, "none"))


def test_weights_of_one_give_trls_loss_to_the_bit(trainer: Any, folder: Path, tmp_path: Path) -> None:
    from trl import SFTTrainer

    batch = _batch([1.0, 1.0, 1.0])
    plain = {name: tensor for name, tensor in batch.items() if name != "weights"}
    theirs = _loss_and_gradient(_trainer(folder, tmp_path, SFTTrainer), plain)
    ours = _loss_and_gradient(trainer, batch)
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1], theirs[1])


def test_a_row_of_weight_zero_is_as_one_without_labels(trainer: Any) -> None:
    weighted = _loss_and_gradient(trainer, _batch([1.0, 0.0, 0.5]))
    masked = _batch([1.0, 1.0, 0.5])
    masked["labels"][1] = data.IGNORED
    unlabelled = _loss_and_gradient(trainer, masked)
    assert torch.equal(weighted[0], unlabelled[0])
    assert torch.equal(weighted[1], unlabelled[1])
    assert not torch.equal(weighted[1], _loss_and_gradient(trainer, _batch([1.0, 0.1, 0.5]))[1])


def test_a_row_of_weight_two_counts_as_two_rows(trainer: Any) -> None:
    once = _batch([1.0, 1.0, 2.0])
    twice = {name: torch.cat([tensor, tensor[2:]]) for name, tensor in _batch([1.0, 1.0, 1.0]).items()}
    assert torch.allclose(_loss_and_gradient(trainer, once)[0], _loss_and_gradient(trainer, twice)[0], atol=1e-6)


def test_rows_of_weight_zero_alone_give_zero(trainer: Any) -> None:
    loss, gradient = _loss_and_gradient(trainer, _batch([0.0, 0.0]))
    assert loss == 0
    assert not gradient.any()


def test_micro_batches_add_up_to_the_batch(trainer: Any) -> None:
    batch = _batch([1.0, 0.3, 2.0, 0.5])
    halves = [{name: tensor[at : at + 2] for name, tensor in batch.items()} for at in (0, 2)]
    total = trainer._get_num_items_in_batch(halves, torch.device("cpu"))
    parts = [trainer.compute_loss(trainer.model, dict(half), num_items_in_batch=total) for half in halves]
    assert torch.allclose(sum(parts), _loss_and_gradient(trainer, batch)[0], atol=1e-6)


def test_skipping_unlabelled_positions_changes_no_result(folder: Path) -> None:
    from trl.trainer import utils

    assert hasattr(utils, "_use_triton"), "TRL changed: look at loop.use_labelled_positions_only"
    batch = {name: tensor for name, tensor in _batch([1.0, 1.0]).items() if name != "weights"}
    found = []
    original = utils._use_triton
    for compact in (False, True):
        utils._use_triton = original
        if compact:
            loop.use_labelled_positions_only()
        model = device.load_model(folder, CPU, train="full")
        utils.add_fused_lm_head(model, outputs=("log_probs", "entropy", "mean_logits", "is_top1"))
        output = model(**batch, fused_lm_head=True)
        output.loss.backward()
        found.append(
            (output.log_probs.detach(), output.entropy.detach(), model.model.layers[0].mlp.up_proj.weight.grad)
        )
    utils._use_triton = original
    for whole, labelled in zip(*found, strict=True):
        assert torch.allclose(whole, labelled, atol=1e-6)


def test_the_validation_loss_is_the_mean_over_all_tokens(folder: Path, tmp_path: Path) -> None:
    tokenizer = device.load_tokenizer(folder)
    rows = [tiny_model.row(n, "yes" * (1 + n % 4)) for n in range(7)]
    examples = [data.encode(tokenizer, row, 96, "sft.max_length") for row in rows]
    trainer = _trainer(folder, tmp_path, training.make_trainer_class(), training.make_collator(258, "none"))
    measured = [
        trainer.evaluate(training.make_dataset(of))["eval_loss"] for of in (examples, sorted(examples, key=len))
    ]
    model = device.load_model(folder, CPU)
    sums, tokens = 0.0, 0
    for example in examples:
        ids = torch.tensor([example.prompt + example.completion])
        with torch.no_grad():
            log_p = model(ids).logits.log_softmax(-1)[0, len(example.prompt) - 1 : -1]
        sums -= float(log_p.gather(-1, torch.tensor(example.completion)[:, None]).sum())
        tokens += len(example.completion)
    assert measured[0] == pytest.approx(sums / tokens, abs=1e-5)
    assert measured[1] == pytest.approx(measured[0], abs=1e-6)
