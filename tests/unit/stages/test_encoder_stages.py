"""sft, align, compress, predict and evaluate on a tiny encoder: labels, several labels, and tags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clew import io, params, paths, rows
from clew.errors import DataError
from clew.evaluation import predictions
from clew.stages import align, compress, predict, sft
from examples import tiny_encoder, tiny_model
from examples.killing import killed

INT8 = params.Compress(methods=("int8",), int8=params.Int8(activations="weight_only"))
STRESS = {"yes": "i cannot sleep and i panic", "no": "we laughed and it went well"}


def _predict(item: str = "sft", batch_size: int = 4) -> list[dict[str, Any]]:
    section = params.Predict(
        variants=("sft",), batch_size=batch_size, max_length=48, max_new_tokens=1, precision="float32"
    )
    predict.run(section, tiny_encoder.MODEL, item, 1)
    return io.read_parquet(paths.PREDICTIONS / f"{item}.parquet", rows.PREDICTION_SCHEMA)


def _labelled(first: int, count: int) -> list[dict[str, Any]]:
    """Stress by its words; moods by theirs, none, one or two of them."""
    found = []
    for number in range(first, first + count):
        answer = "yes" if number % 2 else "no"
        moods = [[], ["anger"], ["joy"], ["anger", "joy"]][number % 4]
        text = 8 * "aqzm"[number % 4] + f" {number}"
        found.append(tiny_model.row(number, answer, text=f"{STRESS[answer]} {number}"))
        found.append(tiny_encoder.labels_row(number + 1000, moods, text))
    return found


DATA = {"labels": _labelled, "tags": lambda first, count: tiny_encoder.names(count, first)}


def _here(folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str, train: int = 8) -> None:
    monkeypatch.chdir(folder)
    tiny_encoder.write(paths.BASE)
    made = DATA[kind](0, train)
    rows.write(paths.TRAIN, [row | {"weight": 0.5 + row["origin"]["record"] % 2} for row in made])
    rows.write(paths.SPLITS / "valid.parquet", DATA[kind](400, 4))
    rows.write(paths.SPLITS / "test.parquet", DATA[kind](800, 12))


def _outs() -> list[str]:
    made = (paths.SFT, paths.SFT_METRICS, paths.SFT_LOSS, paths.fed("sft"), paths.ledger("sft"))
    return [io.tree_sha256(path) for path in made]


@pytest.mark.parametrize("kind", DATA)
def test_the_same_bytes_twice_another_model_with_another_seed_and_nothing_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    _here(tmp_path, monkeypatch, kind)
    made = []
    for seed in (1, 1, 2):
        sft.run(tiny_encoder.sft_params(), tiny_encoder.MODEL, seed)
        made.append(_outs())
    assert made[0] == made[1]
    assert made[0][0] != made[2][0]
    names = {path.name for path in paths.SFT.iterdir()}
    assert names == {path.name for path in paths.BASE.iterdir()} | {"clew.json"}
    assert str(tmp_path) not in (paths.SFT / "config.json").read_text()
    metrics = io.read_json(paths.SFT_METRICS)
    assert metrics["parameters"]["share"] == 1
    fed = io.read_parquet(paths.fed("sft"), _fed_schema())
    assert sum(row["tokens_fed"] - row["tokens_masked"] for row in fed) > 0
    assert metrics["tokens_trained"] <= metrics["tokens_fed"]


def _fed_schema() -> Any:
    from clew.training.fed import SCHEMA

    return SCHEMA


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("seals", [1, 3])
def test_a_killed_run_ends_as_an_unbroken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, seals: int
) -> None:
    """With dropout, so that the state of the random numbers matters."""
    _here(tmp_path, monkeypatch, kind)
    section = tiny_encoder.sft_params(checkpoint_steps=1)
    sft.run(section, tiny_encoder.MODEL, 1)
    unbroken = _outs()
    with killed(seals):
        sft.run(section, tiny_encoder.MODEL, 1)
    assert sft.run(section, tiny_encoder.MODEL, 1)["resumed_from_step"] == seals
    assert _outs() == unbroken


def test_labels_are_learnt_several_tasks_at_once_and_scored_as_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _here(tmp_path, monkeypatch, "labels", train=60)
    section = tiny_encoder.sft_params(epochs=12, eval_steps=60, patience=99, batch_size=8, micro_batch_size=8)
    sft.run(section, tiny_encoder.MODEL, 1)
    found = predictions.by_task(_predict())
    stress, moods = found["stress"], found["moods"]
    assert sum(row["prediction"] == row["label"] for row in stress) >= 11
    for row in stress:
        assert sum(map(_exp, row["scores"])) == pytest.approx(1)
        assert row["logprob"] == row["scores"][row["choices"].index(row["label"])]
        assert row["labels"] is row["predicted"] is None
    assert sum(row["predicted"] == row["labels"] for row in moods) >= 9
    for row in moods:
        assert row["prediction"] == (", ".join(row["predicted"]) or "none")
        likely = [choice for choice, score in zip(row["choices"], row["scores"], strict=True) if _exp(score) > 0.5]
        assert row["predicted"] == likely


def _exp(value: float) -> float:
    import math

    return math.exp(value)


def test_entities_are_learnt_and_predictions_hold_the_tags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _here(tmp_path, monkeypatch, "tags", train=60)
    sft.run(tiny_encoder.sft_params(epochs=12, eval_steps=60, patience=99, learning_rate=0.005), tiny_encoder.MODEL, 1)
    found = _predict()
    assert sum(row["predicted"] == row["tags"] for row in found) >= 10
    row = next(row for row in found if row["predicted"] == row["tags"])
    assert row["prediction"] == row["reference"] == "PER: " + row["reference"].removeprefix("PER: ")
    assert (row["label"], row["scores"], row["tokens"]) == (None, None, 5)


def test_predictions_do_not_depend_on_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in DATA:
        (tmp_path / kind).mkdir()
        _here(tmp_path / kind, monkeypatch, kind)
        sft.run(tiny_encoder.sft_params(), tiny_encoder.MODEL, 1)
        one, many = _predict(batch_size=1), _predict(batch_size=5)
        for first, second in zip(one, many, strict=True):
            assert first["row_id"] == second["row_id"]
            assert first["prediction"] == second["prediction"]
            assert first["logprob"] == pytest.approx(second["logprob"], abs=1e-4)
            if first["scores"]:
                assert first["scores"] == pytest.approx(second["scores"], abs=1e-5)


@pytest.mark.parametrize(("kind", "task"), [("labels", "text-classification"), ("tags", "token-classification")])
def test_anybody_can_load_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, task: str) -> None:
    from transformers import pipeline

    _here(tmp_path, monkeypatch, kind)
    sft.run(tiny_encoder.sft_params(), tiny_encoder.MODEL, 1)
    if kind == "labels":
        (said,) = pipeline(task, model=str(paths.SFT), device="cpu", top_k=None)(["we saw it"])
        wanted = {"stress/yes", "stress/no", "moods/anger", "moods/fear", "moods/joy"}
        assert {one["label"] for one in said} == wanted
    else:
        found = pipeline(task, model=str(paths.SFT), device="cpu", ignore_labels=[])("we saw it")
        assert {one["entity"] for one in found} <= {"O", "B-PER"}


def test_a_word_that_was_cut_off_is_in_no_entity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _here(tmp_path, monkeypatch, "tags")
    sft.run(tiny_encoder.sft_params(), tiny_encoder.MODEL, 1)
    rows.write(paths.SPLITS / "test.parquet", [tiny_encoder.tags_row(1, "word " * 40 + "ada", "O " * 40 + "B-PER")])
    (row,) = _predict()
    assert len(row["predicted"]) == len(row["tags"]) == 41
    assert row["predicted"][-1] == "O"


@pytest.mark.parametrize("kind", DATA)
def test_the_rest_of_the_chain_takes_an_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """align passes it on; int8 leaves the head as it is, loads and predicts."""
    _here(tmp_path, monkeypatch, kind)
    sft.run(tiny_encoder.sft_params(), tiny_encoder.MODEL, 1)
    align.run(tiny_model.align_params(enabled=False), 1)
    assert io.tree_sha256(paths.ALIGNED) == io.tree_sha256(paths.SFT)
    made = []
    for _ in range(2):
        compress.run(INT8, "int8")
        made.append(io.tree_sha256(paths.MODELS / "int8"))
    assert made[0] == made[1]
    from clew.compression import int8
    from clew.training import device, encoder

    stored = int8.quantised(encoder.load_model(paths.MODELS / "int8", device.Device("cpu", "float32", "sdpa")))
    assert all(stored[name] == ("encoder.layer" in name or "pooler" in name) for name in stored), stored
    assert len(_predict("int8")) == len(_predict("sft"))


def test_a_task_that_was_not_trained_on_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _here(tmp_path, monkeypatch, "labels")
    sft.run(tiny_encoder.sft_params(), tiny_encoder.MODEL, 1)
    rows.write(paths.SPLITS / "test.parquet", [tiny_model.row(1, task="other")])
    with pytest.raises(DataError, match="no outputs for the labels of task `other`"):
        _predict()
