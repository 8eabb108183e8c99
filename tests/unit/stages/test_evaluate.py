import hashlib
from pathlib import Path

import pytest

from clew import io, params, paths
from clew.errors import DataError
from clew.stages import evaluate
from examples import help_desk

EVALUATE = params.Evaluate(resamples=100, confidence=0.95)
COMPRESS = params.Compress(methods=("int8",), int8=params.Int8(activations="weight_only"))
SIZES = {"stress": 30, "exam": 20, "dialogues": 5}
OUTS = (paths.QUALITY, paths.QUALITY_PLOT, paths.CONFUSION)


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def predict(*variants: str) -> params.Predict:
    return params.Predict(variants=variants, batch_size=1, max_length=1, max_new_tokens=1, precision="auto")


def record(variant: str, digest: str | None = None) -> None:
    """A runtime record as the wrapper writes it."""
    made = paths.PREDICTIONS / f"{variant}.parquet"
    seconds = {"stress": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 30}}
    content = {"facts": {"seconds_per_example": seconds}, "outs": {str(made): digest or io.tree_sha256(made)}}
    io.write_json(paths.RUNTIME / f"predict@{variant}.json", content)


def test_it_writes_every_number_of_every_variant() -> None:
    help_desk.write(("base", "sft", "int8"), SIZES)
    assert evaluate.run(EVALUATE, predict("base", "sft", "int8"), COMPRESS, 13) == {}
    found = io.read_json(paths.QUALITY)
    assert set(found) == {"base", "sft", "int8"}
    for variant in found:
        assert set(found[variant]) == {*SIZES, "model"}
    assert found["sft"]["model"]["size_bytes"] == {"value": 1000, "low": 1000, "high": 1000, "n": 1}
    assert found["int8"]["model"]["size_bytes"]["value"] == 500
    assert found["int8"]["exam"]["accuracy"]["vs_parent"]["parent"] == "sft"
    lines = io.read_csv(paths.QUALITY_PLOT)
    assert list(lines[0]) == ["variant", "task", "metric", "value", "low", "high", "n"]
    assert {line["metric"] for line in lines} >= {"accuracy", "auc", "bleu"}
    assert len(io.read_csv(paths.CONFUSION)) == 3 * (30 + 20)


def test_the_same_predictions_and_seed_give_the_same_bytes() -> None:
    help_desk.write(("base", "sft"), SIZES)
    digests = []
    for seed in (1, 1, 2):
        evaluate.run(EVALUATE, predict("base", "sft"), COMPRESS, seed)
        digests.append([hashlib.sha256(out.read_bytes()).hexdigest() for out in OUTS])
    assert digests[0] == digests[1]
    assert digests[0][0] != digests[2][0]


def test_what_params_no_longer_name_is_refused_and_named() -> None:
    """The lock would hold it, and no clone could make it."""
    help_desk.write(("base", "sft"), SIZES)
    with pytest.raises(DataError, match=r"predict.variants no longer names what lies in data/predictions/base.parquet"):
        evaluate.run(EVALUATE, predict("sft"), COMPRESS, 1)
    help_desk.write(("int8",), SIZES)
    (paths.PREDICTIONS / "int8.parquet").unlink()
    none = COMPRESS.model_copy(update={"methods": ()})
    with pytest.raises(DataError, match=r"compress.methods no longer names .* Remove it \(`rm -r models/int8`\)"):
        evaluate.run(EVALUATE, predict("base", "sft"), none, 1)
    evaluate.run(EVALUATE, predict("base", "sft"), COMPRESS, 1)  # made, and not asked to predict
    assert set(io.read_json(paths.QUALITY)) == {"base", "sft"}


def test_latency_comes_from_the_records_that_speak_of_these_predictions() -> None:
    help_desk.write(("base", "sft"), SIZES)
    record("base")
    record("sft", digest="0" * 64)
    evaluate.run(EVALUATE, predict("base", "sft"), COMPRESS, 1)
    found = io.read_json(paths.LATENCY)
    assert found["base"]["stress"]["seconds_per_example"] == {"value": 0.5, "low": 0.4, "high": 0.6, "n": 30}
    assert set(found["sft"]) == set(SIZES)
    for entry in (found["base"]["exam"], *found["sft"].values()):
        assert entry["seconds_per_example"]["value"] is None
        assert "were not timed" in entry["seconds_per_example"]["reason"]
    assert "seconds" not in paths.QUALITY.read_text()


def test_a_model_that_is_not_there_is_an_error() -> None:
    help_desk.write(("base",), SIZES)
    (paths.MODELS / "base" / "weights").unlink()
    (paths.MODELS / "base").rmdir()
    with pytest.raises(DataError, match=r"models/base: the folder does not exist. Run `dvc repro`"):
        evaluate.run(EVALUATE, predict("base"), COMPRESS, 1)


def test_variants_of_other_rows_are_an_error() -> None:
    help_desk.write(("base", "sft"), SIZES)
    help_desk.write_predictions("sft", help_desk.predictions("sft", {"stress": 29, "exam": 20, "dialogues": 5}))
    with pytest.raises(DataError, match=r"it does not cover the same rows as base.parquet: 1 missing"):
        evaluate.run(EVALUATE, predict("base", "sft"), COMPRESS, 1)
    assert not paths.QUALITY.exists()


def test_params_refuse_a_task_whose_numbers_would_stand_where_the_size_does() -> None:
    mapping = {
        "kind": "text",
        "source": "own",
        "files": "*",
        "format": "csv",
        "system": None,
        "completion": "{{ a }}",
        "rejected": None,
        "wanted": None,
    }
    mapping |= {"prompt": "{{ q }}", "text": "{{ q }}", "groups": {}, "missing": {}}
    tasks = {name: params.TextMapping.model_validate(mapping) for name in ("models", "model")}
    with pytest.raises(ValueError, match="a task cannot be called `model`"):
        params.Prepare(row_key="public", max_unfit=0.1, tasks=tasks)
    assert params.Prepare(row_key="public", max_unfit=0.1, tasks={"models": tasks["models"]})


def test_a_record_that_a_merge_broke_stops_nothing() -> None:
    help_desk.write(("base",), SIZES)
    record("base")
    (paths.RUNTIME / "predict@base.json").write_text("<<<<<<< HEAD\n")
    evaluate.run(EVALUATE, predict("base"), COMPRESS, 13)
    assert paths.QUALITY.exists()
    assert io.read_json(paths.LATENCY)["base"]["stress"]["seconds_per_example"]["value"] is None
