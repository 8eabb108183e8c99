"""Every way to train, with the tiny model: it resumes to the same bytes, is written as a folder that answers, and does
what its knob says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from clew import io, params, paths, rows
from clew.errors import ModelError, SetupError
from clew.stages import align, compress, predict, sft
from clew.training import adapters, loop
from examples import tiny_model
from examples.killing import killed

WITHOUT_DROPOUT = tiny_model.LORA | {"dropout": 0.0}
IA3 = {"target_modules": ("k_proj", "v_proj", "down_proj"), "feedforward_modules": ("down_proj",)}
PROMPT = {"method": "prompt", "prompt": {"tokens": 3, "text": "Answer yes or no."}, "merge": False}
PREFIX = {"method": "prefix", "prefix": {"tokens": 3}, "merge": False}
METHODS: dict[str, dict[str, Any]] = {
    "lora": {},
    "lora beside its base": {"merge": False},
    "rslora": {"lora": tiny_model.LORA | {"rslora": True}},
    "dora": {"lora": tiny_model.LORA | {"dora": True}},
    "qlora": {"method": "qlora"},
    "ia3": {"method": "ia3", "ia3": IA3},
    "prompt": PROMPT,
    "prompt of drawn tokens": PROMPT | {"prompt": {"tokens": 3, "text": None}},
    "prefix": PREFIX,
    "full": {"method": "full"},
}
SLOW = ("rslora", "dora", "prompt of drawn tokens", "lora", "lora beside its base")  # alike, or tested elsewhere too
OPTIMIZERS = ["adamw", "adam", "sgd", "rmsprop", "adafactor", "adamw_8bit", "paged_adamw_8bit"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work tree with a tiny base model and rows, as the stages before leave it."""
    monkeypatch.chdir(tmp_path)
    tiny_model.write(paths.BASE)
    rows.write(paths.TRAIN, [row | {"weight": 0.5 + row["origin"]["record"] % 2} for row in tiny_model.rows(10)])
    rows.write(paths.SPLITS / "valid.parquet", tiny_model.rows(3, first=50))
    free = tiny_model.row(99, "a short note", task="notes", choices=None, label=None, rejected=None)
    rows.write(paths.SPLITS / "test.parquet", [*tiny_model.rows(3, first=70), free])
    return tmp_path


def _predictions(variant: str) -> list[dict[str, Any]]:
    section = params.Predict(variants=("sft",), batch_size=2, max_length=96, max_new_tokens=4, precision="float32")
    predict.run(section, tiny_model.DECODER, variant, 1)
    return io.read_parquet(paths.PREDICTIONS / f"{variant}.parquet", rows.PREDICTION_SCHEMA)


def _outs() -> list[str]:
    return [io.tree_sha256(path) for path in (paths.SFT, paths.SFT_METRICS, paths.SFT_LOSS)]


def _losses(path: Path) -> list[float]:
    return [float(line["loss"]) for line in io.read_csv(path)]


def _killed_and_resumed(section: params.Sft) -> None:
    with killed():
        sft.run(section, tiny_model.DECODER, 1)
    assert sft.run(section, tiny_model.DECODER, 1)["resumed_from_step"] == section.checkpoint_steps


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in METHODS]
)
def test_a_method_trains_resumes_to_the_same_bytes_and_leaves_a_model_that_answers(here: Path, name: str) -> None:
    section = tiny_model.sft_params(**METHODS[name])
    sft.run(section, tiny_model.DECODER, 1)
    unbroken = _outs()
    _killed_and_resumed(section)
    assert _outs() == unbroken
    metrics = io.read_json(paths.SFT_METRICS)
    assert metrics["valid_loss"]["best"] < metrics["valid_loss"]["before"]
    share = metrics["parameters"]["share"]
    assert share == 1 if name == "full" else 0 < share < 0.03
    assert adapters.is_in(paths.SFT) == (not section.merge)
    if not section.merge:
        kept = [io.sha256(folder / "model.safetensors") for folder in (paths.SFT, paths.BASE)]
        assert kept[0] == kept[1], "the base beside the adapter is the base"
    tiny_model.write(paths.MODELS / "plain")
    assert [row["logprob"] for row in _predictions("sft")] != [row["logprob"] for row in _predictions("plain")]


def test_what_qlora_loses_on_the_full_base_is_told(here: Path) -> None:
    tiny_model.write_model(paths.BASE, hidden_size=64, intermediate_size=128)
    sft.run(tiny_model.sft_params(method="qlora", learning_rate=0.05), tiny_model.DECODER, 1)
    valid = io.read_json(paths.SFT_METRICS)["valid_loss"]
    assert valid["on_full_base"] != valid["best"]
    test = rows.read(paths.SPLITS / "valid.parquet")
    rows.write(paths.SPLITS / "test.parquet", test)
    found = _predictions("sft")  # the model as it was written, measured by other code
    tokens = sum(row["tokens"] for row in found)
    assert valid["on_full_base"] == pytest.approx(-sum(row["logprob"] for row in found) / tokens, abs=1e-4)
    sft.run(tiny_model.sft_params(), tiny_model.DECODER, 1)
    assert "on_full_base" not in io.read_json(paths.SFT_METRICS)["valid_loss"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("of_sft", "of_align", "beside"),
    [
        ({}, {"lora": WITHOUT_DROPOUT | {"dora": True}}, False),
        ({}, {"lora": WITHOUT_DROPOUT, "method": "qlora"}, False),
        ({}, {"method": "ia3", "ia3": IA3}, False),
        ({}, PREFIX, True),
        ({"merge": False}, {"lora": WITHOUT_DROPOUT}, False),
        ({"merge": False}, {"lora": WITHOUT_DROPOUT, "merge": False}, True),
        (PROMPT, PROMPT, True),
        (PREFIX, PREFIX, True),
    ],
    ids=["dora", "qlora", "ia3", "prefix", "of an adapter", "beside", "a prompt goes on", "a prefix goes on"],
)
def test_preferences_are_trained_by_every_method(
    here: Path, of_sft: dict[str, Any], of_align: dict[str, Any], beside: bool
) -> None:
    sft.run(tiny_model.sft_params(**of_sft), tiny_model.DECODER, 1)
    rows.write(paths.TRAIN, [tiny_model.row(number, "yes") for number in range(8)])
    held_out = {"rows": 3, "max_new_tokens": 4, "resamples": 100, "confidence": 0.95}
    section = tiny_model.align_params(**of_align, epochs=3, learning_rate=0.05, held_out=held_out)
    align.run(section, 1)
    made = io.tree_sha256(paths.ALIGNED)
    metrics = io.read_json(paths.ALIGN_METRICS)
    if of_align is not PREFIX or of_sft is PREFIX:  # a new prefix is not nothing: the policy begins elsewhere
        assert metrics["loss"]["first"] == pytest.approx(math.log(2), abs=1e-4)
    assert metrics["reward_margin"] > 0
    assert metrics["held_out"]["n"] == 3
    assert adapters.is_in(paths.ALIGNED) == beside
    of = [[row["logprob"] for row in _predictions(variant)] for variant in ("sft", "aligned")]
    assert of[0] != of[1]
    align.run(section, 1)
    assert io.tree_sha256(paths.ALIGNED) == made


def test_a_model_with_an_adapter_beside_it_is_not_compressed(here: Path) -> None:
    sft.run(tiny_model.sft_params(**PREFIX), tiny_model.DECODER, 1)
    align.run(tiny_model.align_params(enabled=False), 1)
    assert io.tree_sha256(paths.ALIGNED) == io.tree_sha256(paths.SFT)
    section = params.Compress(methods=("int8",), int8=params.Int8(activations="weight_only"))
    with pytest.raises(ModelError, match=r"only whole models are compressed.*merge: true"):
        compress.run(section, "int8")


@pytest.mark.slow
def test_every_optimizer_learns_its_own_way_and_resumes(here: Path) -> None:
    made = {}
    for optimizer in OPTIMIZERS:
        section = tiny_model.sft_params(optimizer=optimizer, method="full", weight_decay=0.5)
        sft.run(section, tiny_model.DECODER, 1)
        made[optimizer] = _outs()
        valid = io.read_json(paths.SFT_METRICS)["valid_loss"]
        assert valid["best"] < valid["before"], optimizer
        if optimizer in ("adam", "adamw_8bit", "adafactor"):  # those with states of other forms
            _killed_and_resumed(section)
            assert _outs() == made[optimizer]
    assert made.pop("paged_adamw_8bit") == made["adamw_8bit"], "on a CPU nothing is paged"
    assert len({outs[0] for outs in made.values()}) == len(made)


def test_adam_is_adamw_where_no_weight_decays(here: Path) -> None:
    made = []
    for optimizer in ("adam", "adamw"):
        sft.run(tiny_model.sft_params(optimizer=optimizer), tiny_model.DECODER, 1)
        made.append(_outs()[0])
    assert made[0] == made[1]


@pytest.mark.parametrize(("method", "weighted"), [("lora", True), ("full", False)])
def test_the_losses_are_the_same_however_a_batch_is_split(here: Path, method: str, weighted: bool) -> None:
    """The last step has three rows, so that with two at a time its micro-batches are not of one size."""
    dpo = tiny_model.DPO | {"row_weights": weighted}
    of_sft, of_align = [], []
    for size in (1, 2, 4):
        changes = {"micro_batch_size": size, "lora": WITHOUT_DROPOUT, "method": method, "epochs": 1.5}
        sft.run(tiny_model.sft_params(**changes), tiny_model.DECODER, 1)
        of_sft.append(_losses(paths.SFT_LOSS))
        tiny_model.write(paths.SFT)
        align.run(tiny_model.align_params(**changes, rows=10, dpo=dpo), 1)
        of_align.append(_losses(paths.ALIGN_LOSS))
    for found in (of_sft, of_align):
        assert len(found[0]) >= 4
        assert found[0] == pytest.approx(found[2], abs=1e-5)
        assert found[1] == pytest.approx(found[2], abs=1e-5)


def test_a_resumed_run_keeps_the_split_that_it_began_with(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from clew.training import memory

    section = tiny_model.sft_params(micro_batch_size="auto")
    room = {"cpu": 0}
    monkeypatch.setattr(memory, "total", room.__getitem__)
    assert sft.run(section, tiny_model.DECODER, 1)["micro_batch_size"] == 1
    unbroken = _outs()
    with killed():
        sft.run(section, tiny_model.DECODER, 1)
    room["cpu"] = 1 << 40
    resumed = sft.run(section, tiny_model.DECODER, 1)
    assert (resumed["micro_batch_size"], resumed["resumed_from_step"]) == (1, 2)
    assert _outs() == unbroken
    assert sft.run(section, tiny_model.DECODER, 1)["micro_batch_size"] == 4


@pytest.mark.parametrize("change", [{"gradient_checkpointing": True}, {"attention": "eager"}], ids=str)
def test_what_saves_memory_or_computes_otherwise_changes_no_loss(here: Path, change: dict[str, Any]) -> None:
    found = []
    for changes in ({}, change):
        sft.run(tiny_model.sft_params(lora=WITHOUT_DROPOUT, **changes), tiny_model.DECODER, 1)
        found.append(_losses(paths.SFT_LOSS))
    assert found[0] == pytest.approx(found[1], abs=1e-5)


def test_gradients_are_shortened_or_not(here: Path) -> None:
    made = []
    for norm in (None, 1e9, 0.001):
        sft.run(tiny_model.sft_params(optimizer="sgd", max_grad_norm=norm), tiny_model.DECODER, 1)
        made.append(io.sha256(paths.SFT / "model.safetensors"))
    assert made[0] == made[1] != made[2]


def _rates(monkeypatch: pytest.MonkeyPatch, section: params.Sft) -> list[float]:
    seen: list[float] = []
    fit = loop.fit

    def watch(*arguments: Any, **options: Any) -> loop.Fitted:
        fitted = fit(*arguments, **options)
        seen.extend(entry["learning_rate"] for entry in fitted.history if "learning_rate" in entry)
        return fitted

    with monkeypatch.context() as patch:
        patch.setattr(loop, "fit", watch)
        sft.run(section, tiny_model.DECODER, 1)
    return seen


def _left(step: int, warm: int, steps: int) -> float:
    return (steps - step) / (steps - warm)


SCHEDULES: dict[str, Any] = {  # of the peak, after the warm-up
    "linear": _left,
    "cosine": lambda step, warm, steps: (1 - math.cos(math.pi * _left(step, warm, steps))) / 2,
    "cosine_with_min_lr": lambda step, warm, steps: 0.55 - 0.45 * math.cos(math.pi * _left(step, warm, steps)),
    "polynomial": lambda step, warm, steps: _left(step, warm, steps) ** 2,
    "inverse_sqrt": lambda step, warm, steps: math.sqrt(warm / step),
    "warmup_stable_decay": lambda step, warm, steps: (
        1 if step <= steps - 2 else (1 - math.cos(math.pi * (steps - step) / 2)) / 2
    ),
    "constant_with_warmup": lambda step, warm, steps: 1,
}


@pytest.mark.slow
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_learning_rate_follows_its_schedule(here: Path, monkeypatch: pytest.MonkeyPatch, schedule: str) -> None:
    section = tiny_model.sft_params(epochs=5, warmup=3, schedule=schedule, learning_rate=0.01, patience=100)
    seen = _rates(monkeypatch, section)
    steps = len(seen)
    assert steps == 13
    wanted = [0.01 * (step / 3 if step < 3 else SCHEDULES[schedule](step, 3, steps)) for step in range(steps)]
    assert seen == pytest.approx(wanted, abs=1e-8)


def test_a_constant_learning_rate_is_constant(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = tiny_model.sft_params(warmup=0, schedule="constant", learning_rate=0.01)
    assert set(_rates(monkeypatch, section)) == {0.01}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"liger": True}, r"^sft.liger: Liger's kernels run on GPUs only.*liger: false"),
        ({"precision": "float16"}, r"^precision: float16: there is no GPU.*precision: auto"),
        (
            {"attention": "flash_attention_2", "precision": "bfloat16"},
            r"^attention: flash_attention_2: .*wants a GPU.*attention: auto",
        ),
    ],
)
def test_what_wants_a_gpu_is_refused_without_one(
    here: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], said: str
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SetupError, match=said):
        sft.run(tiny_model.sft_params(**change), tiny_model.DECODER, 1)


def test_a_stage_warns_of_an_unusual_learning_rate_and_trains(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sft.run(tiny_model.sft_params(learning_rate=0.5), tiny_model.DECODER, 1)
    said = capsys.readouterr().err
    assert "clew: warning: sft.learning_rate: 0.5 is outside 0.0001 to 0.001, which is usual for lora" in said
    sft.run(tiny_model.sft_params(learning_rate=5e-4), tiny_model.DECODER, 1)
    assert "warning: sft" not in capsys.readouterr().err
