"""sft, align, compress and predict on a tiny model: the same bytes twice, and what their docstrings claim."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from clew import io, ledger, params, paths, rows
from clew.errors import ModelError
from clew.evaluation import scoring
from clew.stages import align, compress, predict, sft
from clew.training import data, device, loop, record
from examples import tiny_model
from examples.killing import killed

DECODER = tiny_model.DECODER
CPU = device.Device("cpu", "float32", "sdpa")
INT8 = params.Compress(methods=("int8",), int8=params.Int8(activations="weight_only"))


def _predict(batch_size: int = 2) -> params.Predict:
    return params.Predict(
        variants=("sft",), batch_size=batch_size, max_length=96, max_new_tokens=4, precision="float32"
    )


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work tree with a tiny base model and rows, as the stages before leave it."""
    monkeypatch.chdir(tmp_path)
    tiny_model.write(paths.BASE)
    rows.write(paths.TRAIN, [row | {"weight": 0.5 + row["origin"]["record"] % 2} for row in tiny_model.rows(8)])
    rows.write(paths.SPLITS / "valid.parquet", tiny_model.rows(3, first=50))
    free = tiny_model.row(99, "a short note", task="notes", choices=None, label=None, rejected=None)
    rows.write(paths.SPLITS / "test.parquet", [*tiny_model.rows(5, first=70), free])
    return tmp_path


@pytest.mark.parametrize("method", ["lora", "full"])
def test_sft_makes_the_same_bytes_twice_and_another_model_with_another_seed(here: Path, method: str) -> None:
    made = []
    for seed in (1, 1, 5):
        sft.run(tiny_model.sft_params(method=method), DECODER, seed)
        made.append(io.tree_sha256(paths.SFT))
    assert made[0] == made[1] != made[2]
    assert made[0] != io.tree_sha256(paths.BASE)
    assert {path.name for path in paths.SFT.iterdir()} == {path.name for path in paths.BASE.iterdir()} | {record.NAME}
    assert {line["split"] for line in io.read_csv(paths.SFT_LOSS)} == {"train", "valid"}
    trained = io.read_json(paths.SFT_METRICS)["parameters"]
    assert trained["share"] == 1 if method == "full" else 0 < trained["share"] < 0.2
    assert not list(paths.CHECKPOINTS.glob("*"))


def _outs() -> list[str]:
    return [io.tree_sha256(path) for path in (paths.SFT, paths.SFT_METRICS, paths.SFT_LOSS, paths.fed("sft"))]


def _overfit() -> params.Sft:
    """Trains on yes only; validation says no, so that the first steps are the best and patience runs out."""
    rows.write(paths.TRAIN, [tiny_model.row(number, "yes") for number in range(13)])
    wrong = [tiny_model.row(number, "no") | {"weight": 0.0} for number in range(50, 53)]
    rows.write(paths.SPLITS / "valid.parquet", wrong)
    return tiny_model.sft_params(epochs=3, eval_steps=1, patience=3, checkpoint_steps=1, learning_rate=0.05)


def test_training_stops_early_and_keeps_the_best_weights_not_the_last(here: Path) -> None:
    section = _overfit()
    sft.run(section, DECODER, 1)
    metrics = io.read_json(paths.SFT_METRICS)
    assert metrics["stopped_early"]
    valid = [float(line["loss"]) for line in io.read_csv(paths.SFT_LOSS) if line["split"] == "valid"]
    assert metrics["valid_loss"]["best"] == pytest.approx(min(valid), abs=1e-6)
    assert metrics["valid_loss"]["best_step"] < metrics["steps"] == metrics["valid_loss"]["best_step"] + 3
    before = io.tree_sha256(paths.SFT)
    patient = section.model_copy(update={"patience": 100})
    sft.run(patient, DECODER, 1)
    assert not io.read_json(paths.SFT_METRICS)["stopped_early"]
    assert io.tree_sha256(paths.SFT) == before, "the best weights are the same, however long it goes on"


def _fed(stage: str) -> dict[str, dict[str, Any]]:
    return {row["row_id"]: row for row in pq.read_table(paths.fed(stage)).to_pylist()}


def test_rows_as_fed_are_counted_from_the_batches_and_those_that_do_not_fit_stand_in_the_ledger(here: Path) -> None:
    train = rows.read(paths.TRAIN)
    train[2] |= {"messages": [{"role": "user", "content": "a" * 200}]}
    train[5] |= {"completion": "y" * 100}
    rows.write(paths.TRAIN, train)
    sft.run(tiny_model.sft_params(epochs=2, patience=100, learning_rate=1e-4), DECODER, 1)
    tokenizer = device.load_tokenizer(paths.BASE)
    section = tiny_model.sft_params()
    encoded = [data.encode(tokenizer, row, section.max_length, "") for at, row in enumerate(train) if at != 5]
    wanted = {
        one.row_id: {
            "row_id": one.row_id,
            "times_fed": 2,
            "tokens_fed": 2 * len(one),
            "tokens_masked": 2 * len(one.prompt),
            "truncated": one.cut,
        }
        for one in encoded
    }
    assert io.read_json(paths.SFT_METRICS)["valid_loss"]["best_step"] == io.read_json(paths.SFT_METRICS)["steps"]
    assert _fed("sft") == wanted
    assert [entry["decision"] for entry in ledger.read("sft")] == ["kept"] * 2 + ["changed"] + ["kept"] * 2 + [
        "dropped"
    ] + ["kept"] * 2
    assert [entry["rule"] for entry in ledger.read("sft") if entry["rule"]] == ["cut", "too_long"]
    told = json.loads((paths.SFT / record.NAME).read_text())
    assert told == {"stage": "sft", "fed": {"rows": 7, "root": record.root(list(wanted))}}


def test_rows_that_were_fed_after_the_best_step_only_are_in_no_weights(here: Path) -> None:
    sft.run(_overfit(), DECODER, 1)
    metrics = io.read_json(paths.SFT_METRICS)
    size = tiny_model.sft_params().batch_size
    assert sum(row["times_fed"] for row in _fed("sft").values()) == metrics["valid_loss"]["best_step"] * size
    assert metrics["rows"]["fed"] > metrics["valid_loss"]["best_step"] * size


@pytest.mark.parametrize("seals", [1, 2, 4])
def test_a_killed_run_that_had_its_best_behind_it_ends_as_an_unbroken_one(here: Path, seals: int) -> None:
    section = _overfit().model_copy(update={"patience": 5})
    sft.run(section, DECODER, 1)
    unbroken = _outs()
    with killed(seals):
        sft.run(section, DECODER, 1)
    assert sft.run(section, DECODER, 1)["resumed_from_step"] == seals
    assert _outs() == unbroken


def test_the_learning_rate_warms_up_and_falls_as_the_schedule_says(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    fit = loop.fit

    def watch(*arguments: Any, **options: Any) -> loop.Fitted:
        fitted = fit(*arguments, **options)
        seen.extend(entry["learning_rate"] for entry in fitted.history if "learning_rate" in entry)
        return fitted

    monkeypatch.setattr(loop, "fit", watch)
    section = tiny_model.sft_params(epochs=5, warmup=0.2, schedule="linear", learning_rate=0.01)
    sft.run(section, DECODER, 1)
    steps = len(seen)
    warm = -(-steps // 5)
    wanted = [0.01 * min(step / warm, (steps - step) / (steps - warm)) for step in range(steps)]
    assert seen == pytest.approx(wanted)


def test_full_training_of_a_bfloat16_base_is_done_in_float32(here: Path) -> None:
    """In bfloat16 steps of 1e-5 would be lost in the rounding: few weights would move."""
    tiny_model.write_model(paths.BASE, dtype="bfloat16")
    where = device.pick("float32")
    import torch

    assert device.load_model(paths.BASE, where, train="full").dtype == torch.float32
    assert device.load_model(paths.BASE, where, train="lora").dtype == torch.bfloat16
    sft.run(tiny_model.sft_params(method="full"), DECODER, 1)
    assert device.load_model(paths.SFT, where, train="lora").dtype == torch.bfloat16


def test_dpo_starts_from_the_sft_model_and_prefers_what_it_was_shown(here: Path) -> None:
    tiny_model.write(paths.SFT)
    rows.write(paths.TRAIN, [tiny_model.row(number, "yes") for number in range(8)])
    section = tiny_model.align_params(epochs=4, lora={**tiny_model.LORA, "dropout": 0.0})
    align.run(section, 1)
    first = io.tree_sha256(paths.ALIGNED)
    metrics = io.read_json(paths.ALIGN_METRICS)
    assert metrics["algorithm"] == "dpo"
    assert metrics["pairs"]["stress"] == 8
    assert io.read_csv(paths.ALIGN_LOSS)[0]["loss"] == "0.693147"  # ln 2: the policy is still the reference
    assert metrics["reward_margin"] > 0
    assert [row["times_fed"] for row in _fed("align").values()] == [4] * 8
    align.run(section, 1)
    assert io.tree_sha256(paths.ALIGNED) == first


def test_align_switched_off_copies_byte_for_byte(here: Path) -> None:
    tiny_model.write(paths.SFT)
    align.run(tiny_model.align_params(enabled=False), 1)
    assert io.tree_sha256(paths.ALIGNED) == io.tree_sha256(paths.SFT)
    assert io.read_json(paths.ALIGN_METRICS) == {"enabled": False}


def test_int8_is_smaller_without_pickle_the_same_twice_and_loads(here: Path) -> None:
    from clew.compression import int8

    wide = {"hidden_size": 128, "intermediate_size": 512}
    tiny_model.write_model(paths.ALIGNED, **wide)
    tiny_model.write_tokenizer(paths.ALIGNED)
    made = []
    for _ in range(2):
        compress.run(INT8, "int8")
        made.append(io.tree_sha256(paths.MODELS / "int8"))
    assert made[0] == made[1]
    assert {path.suffix for path in (paths.MODELS / "int8").iterdir()} <= {".json", ".safetensors", ".jinja"}
    loaded = device.load_model(paths.MODELS / "int8", CPU)
    stored = int8.quantised(loaded)
    assert all(stored[name] for name in stored if "layers" in name)
    predict.run(_predict(), DECODER, "int8", 1)
    assert len(io.read_parquet(paths.PREDICTIONS / "int8.parquet", rows.PREDICTION_SCHEMA)) == 6


def test_predictions_keep_the_rows_order_and_do_not_depend_on_the_batch(here: Path) -> None:
    tiny_model.write(paths.SFT)
    found: list[list[dict[str, Any]]] = []
    for size in (1, 4):
        facts = predict.run(_predict(size), DECODER, "sft", 1)
        found.append(io.read_parquet(paths.PREDICTIONS / "sft.parquet", rows.PREDICTION_SCHEMA))
    assert facts["seconds_per_example"]["stress"]["n"] == 5
    test = rows.read(paths.SPLITS / "test.parquet")
    for one, four, row in zip(*found, test, strict=True):
        assert one["row_id"] == four["row_id"] == row["row_id"]
        assert one["logprob"] == pytest.approx(four["logprob"], abs=1e-4)
        assert one["prediction"] == four["prediction"]
        if row["choices"]:
            assert one["scores"] == pytest.approx(four["scores"], abs=1e-4)
            assert one["prediction"] == row["choices"][one["scores"].index(max(one["scores"]))]
            assert one["logprob"] == one["scores"][row["choices"].index(row["label"])]


def test_several_labels_are_written_as_text_and_read_off(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_model.write(paths.SFT)
    several = tiny_model.row(1, "anger, joy", choices=["anger", "fear", "joy"], labels=["anger", "joy"], rejected=None)
    rows.write(paths.SPLITS / "test.parquet", [several])
    monkeypatch.setattr(scoring, "generate", lambda *_: ["joy, fear and more"])
    predict.run(_predict(), DECODER, "sft", 1)
    (found,) = io.read_parquet(paths.PREDICTIONS / "sft.parquet", rows.PREDICTION_SCHEMA)
    assert (found["labels"], found["predicted"], found["scores"]) == (["anger", "joy"], ["joy"], None)
    assert found["prediction"] == "joy, fear and more"


def test_a_model_that_does_not_fit_its_tokenizer_is_told_before_training(here: Path) -> None:
    tiny_model.write_model(paths.BASE, vocabulary=200)
    with pytest.raises(ModelError, match="the tokenizer has 259 tokens and the model only 200 embeddings"):
        sft.run(tiny_model.sft_params(), DECODER, 1)


def test_a_tokenizer_without_template_is_told(here: Path) -> None:
    tiny_model.write_tokenizer(paths.BASE, template=None)
    (paths.BASE / "chat_template.jinja").unlink(missing_ok=True)
    with pytest.raises(ModelError, match="no chat template"):
        sft.run(tiny_model.sft_params(), DECODER, 1)


def test_modules_that_the_model_does_not_have_are_told_with_those_it_has(here: Path) -> None:
    lora = {**tiny_model.LORA, "target_modules": ("query",)}
    with pytest.raises(Exception, match=r"sft.lora.target_modules: the model's layers have no query.*q_proj"):
        sft.run(tiny_model.sft_params(lora=lora), DECODER, 1)
