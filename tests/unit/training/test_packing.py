"""Rows end to end in one sequence: the loss that they have apart, whatever stands beside them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clew import io, paths, rows
from clew.errors import ModelError
from clew.stages import sft
from clew.training import data, device, fed, loop
from clew.training import sft as training
from examples import tiny_model

WEIGHTS = [1.0, 0.25, 2.0, 0.5]
PAD = 258


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.write(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def examples(folder: Path) -> list[data.Example]:
    tokenizer = device.load_tokenizer(folder)
    found = [data.encode(tokenizer, row, 96, "sft.max_length") for row in tiny_model.rows(4)]
    return [data.with_weight(one, weight) for one, weight in zip(found, WEIGHTS, strict=True)]


def _trainer(folder: Path, out: Path, attention: str) -> Any:
    from trl import SFTConfig

    where = device.Device("cpu", "float32", attention)
    return training.make_trainer_class()(
        model=device.load_model(folder, where, train="full"),
        args=SFTConfig(**loop.arguments(tiny_model.sft_params(), 4, 0, where, out)),
        data_collator=training.make_collator(PAD, "padding_free"),
        train_dataset=training.make_dataset([data.Example("", [1, 2], [3, PAD], 1.0, False)]),
        processing_class=device.load_tokenizer(folder),
    )


@pytest.fixture(scope="module", params=["sdpa", "eager"])
def trainer(folder: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Any:
    return _trainer(folder, tmp_path_factory.mktemp("out"), request.param)


def _batch(examples: list[data.Example], packing: str, packs: list[list[int]] | None = None) -> dict[str, Any]:
    made: dict[str, Any] = training.make_collator(PAD, packing)(list(training.make_dataset(examples, packs=packs)))
    return made


def _loss_and_gradient(trainer: Any, batch: dict[str, Any]) -> tuple[Any, Any]:
    trainer.model.train()
    trainer.model.zero_grad()
    total = trainer._get_num_items_in_batch([batch], torch.device("cpu"))
    loss = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=total)
    loss.backward()
    return loss.detach(), torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])


def _log_probs(trainer: Any, batch: dict[str, Any]) -> Any:
    trainer.model.eval()
    with torch.no_grad():
        return trainer.model(**training.inputs_of(batch), use_cache=False, fused_lm_head=True).log_probs


@pytest.mark.parametrize("packs", [None, [[0, 2], [3, 1]]])
def test_loss_and_gradient_are_those_of_padded_rows(
    trainer: Any, examples: list[data.Example], packs: list[list[int]] | None
) -> None:
    padded = _loss_and_gradient(trainer, _batch(examples, "none"))
    packed = _loss_and_gradient(trainer, _batch(examples, "padding_free", packs))
    assert torch.allclose(packed[0], padded[0], rtol=0, atol=1e-6)
    assert torch.allclose(packed[1], padded[1], rtol=0, atol=1e-6)


def test_a_row_changes_nothing_for_the_others(trainer: Any, examples: list[data.Example]) -> None:
    other = replace(
        examples[1], prompt=examples[1].prompt[::-1], completion=[5, 6, PAD, PAD][-len(examples[1].completion) :]
    )
    start, end = len(examples[0]), len(examples[0]) + len(examples[1])
    one, two = (_log_probs(trainer, _batch([examples[0], each, *examples[2:]], "bfd")) for each in (examples[1], other))
    assert torch.equal(one[:, : start - 1], two[:, : start - 1])
    assert torch.equal(one[:, end - 1 :], two[:, end - 1 :])
    assert not torch.equal(one[:, start - 1 : end - 1], two[:, start - 1 : end - 1])


def test_a_weight_of_zero_is_as_a_row_that_is_not_there(trainer: Any, examples: list[data.Example]) -> None:
    weighted = [data.with_weight(examples[0], 0.0), *examples[1:]]
    without = _loss_and_gradient(trainer, _batch(examples[1:], "padding_free"))
    there = _loss_and_gradient(trainer, _batch(weighted, "padding_free"))
    assert torch.allclose(there[0], without[0], rtol=0, atol=1e-6)
    assert torch.allclose(there[1], without[1], rtol=0, atol=1e-6)


def test_a_model_whose_rows_leak_is_refused(
    folder: Path, tmp_path: Path, examples: list[data.Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = _trainer(folder, tmp_path, "sdpa")
    training.prove_rows_apart(trainer.model, trainer.data_collator, examples)
    whole = training.inputs_of
    leak = lambda batch: {k: v for k, v in whole(batch).items() if k in ("input_ids", "labels")}  # noqa: E731
    monkeypatch.setattr(training, "inputs_of", leak)  # without positions it is one long row
    with pytest.raises(ModelError, match="rows of one sequence see each other"):
        training.prove_rows_apart(trainer.model, trainer.data_collator, examples)


def test_the_stop_token_is_read_back_from_packed_rows(folder: Path, examples: list[data.Example]) -> None:
    tokenizer = device.load_tokenizer(folder)
    batch = _batch(examples, "bfd")
    data.prove_completion_only(tokenizer, examples, batch)
    batch["labels"][0, len(examples[0]) + len(examples[1]) - 1] = data.IGNORED
    with pytest.raises(ModelError, match="the stop token is not trained"):
        data.prove_completion_only(tokenizer, examples, batch)


def test_what_is_fed_is_counted_by_row(examples: list[data.Example]) -> None:
    counted = fed.Fed(4)
    dataset = training.make_dataset(examples, [2, 0, 2, 1], [[0, 1, 2], [3]])  # 2 stands there twice
    batch = training.make_collator(PAD, "bfd")(list(dataset))
    counted.add(batch["examples"], (batch["labels"] != data.IGNORED).expand_as(batch["examples"]))
    tokens = [len(one) for one in examples]
    assert counted.now[0].tolist() == [1, 1, 2, 0]
    assert counted.now[1].tolist() == [tokens[1], tokens[3], tokens[0] + tokens[2], 0]
    assert counted.now[2][0] == len(examples[1].prompt)


@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=60), window=st.integers(1, 70), seed=st.integers(0, 99)
)
def test_packs_hold_every_row_once_and_have_room_for_it(lengths: list[int], window: int, seed: int) -> None:
    order = [(7 * at) % len(lengths) for at in range(2 * len(lengths))]
    packs = data.pack(lengths, order, 50, window, seed)
    assert Counter(at for pack in packs for at in pack) == Counter(range(len(order)))
    assert all(sum(lengths[order[at]] for at in pack) <= 50 for pack in packs)
    for start in range(0, len(order), window):
        inside = [pack for pack in packs if start <= pack[0] < start + window]
        half_empty = [pack for pack in inside if sum(lengths[order[at]] for at in pack) <= 25]
        assert len(half_empty) <= 1, "two of them would have gone into one"


def test_packing_trains_what_padding_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """padding_free makes the same steps; bfd fewer and other ones, on the same rows."""
    monkeypatch.chdir(tmp_path)
    tiny_model.write(paths.BASE)
    rows.write(paths.TRAIN, [row | {"weight": 0.5 + row["origin"]["record"] % 2} for row in tiny_model.rows(8)])
    rows.write(paths.SPLITS / "valid.parquet", tiny_model.rows(3, first=50))
    losses, metrics, fed_rows, trees = {}, {}, {}, []
    for packing in ("none", "padding_free", "padding_free", "bfd"):
        lora = {**tiny_model.LORA, "dropout": 0.0}
        sft.run(tiny_model.sft_params(packing=packing, lora=lora, max_length=192), tiny_model.DECODER, 1)
        losses[packing] = [float(line["loss"]) for line in io.read_csv(paths.SFT_LOSS)]
        metrics[packing] = io.read_json(paths.SFT_METRICS)
        fed_rows[packing] = io.sha256(paths.fed("sft"))
        trees.append(io.tree_sha256(paths.SFT))
    assert losses["padding_free"] == pytest.approx(losses["none"], abs=1e-5)
    assert trees[1] == trees[2]
    assert metrics["bfd"]["steps"] < metrics["none"]["steps"] == metrics["padding_free"]["steps"]
    assert len({metrics[packing]["tokens_fed"] for packing in metrics}) == 1
    assert fed_rows["padding_free"] == fed_rows["none"]


def test_what_stands_before_a_sequence_is_refused_with_packing() -> None:
    changes = {"method": "prefix", "prefix": {"tokens": 4}, "merge": False}
    tiny_model.sft_params(**changes)
    with pytest.raises(ValueError, match="not before each row in it; set packing: none"):
        tiny_model.sft_params(**changes, packing="padding_free")
