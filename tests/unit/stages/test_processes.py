"""sft, reward and align in two processes over gloo: as in one, to the rounding of sums; and what if one fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest

from clew import io, launch, ledger, paths, rows
from clew.errors import ModelError, SetupError
from clew.stages import align, reward, sft
from clew.training import processes, record
from examples import ranks, tiny_encoder, tiny_model

pytestmark = pytest.mark.slow
ENCODER = tiny_encoder.MODEL
PLAIN = {"lora": {**tiny_model.LORA, "dropout": 0.0}, "micro_batch_size": 1}  # random numbers are each process's own
KTO = {"beta": 0.1, "wanted_weight": 1.0, "unwanted_weight": 1.0, "row_weights": True}
SFT_OUTS = (paths.SFT, paths.SFT_METRICS, paths.SFT_LOSS, paths.fed("sft"), paths.ledger("sft"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work tree with tiny models, 13 rows to train on (no whole number of steps) and 3 to measure."""
    monkeypatch.chdir(tmp_path)
    ranks.configs(tmp_path)
    tiny_model.write(paths.BASE)
    tiny_model.write(paths.SFT)
    weighed = [row | {"weight": 0.5 + row["origin"]["record"] % 2} for row in tiny_model.rows(13)]
    rows.write(paths.TRAIN, weighed)
    rows.write(paths.SPLITS / "valid.parquet", tiny_model.rows(3, first=50))
    return tmp_path


def _losses(file: Path) -> list[float]:
    return [float(line["loss"]) for line in io.read_csv(file)]


def _near(one: Any, other: Any) -> bool:
    """Whether two trees of metrics are equal, numbers to 1e-4."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_near(one[name], other[name]) for name in one)
    return other == pytest.approx(one, abs=1e-4) if isinstance(one, float) else one == other


def _apart(one: Path, other: dict[str, Any]) -> float:
    """By how much the weights of a model's folder differ at most from others."""
    from safetensors.torch import load_file

    return max(float((load_file(one / "model.safetensors")[name] - other[name]).abs().max()) for name in other)


def _weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(folder / "model.safetensors"))


@pytest.mark.parametrize("changes", [{}, {"method": "full", "learning_rate": 0.001}, {"packing": "bfd"}], ids=str)
def test_sft_learns_from_the_same_rows_the_same_in_two_processes(here: Path, changes: dict[str, Any]) -> None:
    section = tiny_model.sft_params(**PLAIN, **changes, patience=99)
    sft.run(section, tiny_model.DECODER, 1)
    alone, fed, told = _losses(paths.SFT_LOSS), io.tree_sha256(paths.fed("sft")), io.read_json(paths.SFT_METRICS)
    decided, record_of_one, weights = ledger.read("sft"), io.read_json(paths.SFT / record.NAME), _weights(paths.SFT)
    found = ranks.run("sft", section)
    assert found["facts"]["resumed_from_step"] == 0
    assert len(alone) > 8
    assert _losses(paths.SFT_LOSS) == pytest.approx(alone, abs=1e-4)
    assert _apart(paths.SFT, weights) < 1e-4
    assert io.tree_sha256(paths.fed("sft")) == fed, "the rows of both processes, each counted as often as in one"
    assert _near(told, io.read_json(paths.SFT_METRICS))
    assert ledger.read("sft") == decided
    made = {"launch": {"config": "ddp_cpu", "processes": 2, "machines": 1, "wrapper": "ddp"}}
    assert io.read_json(paths.SFT / record.NAME) == record_of_one | made
    assert not list(paths.CHECKPOINTS.glob("*"))


@pytest.mark.parametrize("tags", [False, True])
def test_an_encoder_learns_the_same_in_two_processes(here: Path, tags: bool) -> None:
    tiny_encoder.write(paths.BASE, dropout=0.0)
    if tags:
        tagged = [tiny_encoder.tags_row(n, f"day {n} ada slept", "O O B-PER O") for n in range(13)]
        rows.write(paths.TRAIN, tagged)
        rows.write(paths.SPLITS / "valid.parquet", tagged[:3])
    section = tiny_encoder.sft_params(micro_batch_size=2, batch_size=4, patience=99)
    sft.run(section, ENCODER, 1)
    alone, fed, told = _losses(paths.SFT_LOSS), io.tree_sha256(paths.fed("sft")), io.read_json(paths.SFT_METRICS)
    ranks.run("sft", section, kind="encoder")
    assert _losses(paths.SFT_LOSS) == pytest.approx(alone, abs=1e-4)
    assert io.tree_sha256(paths.fed("sft")) == fed
    assert _near(told, io.read_json(paths.SFT_METRICS))


def test_a_reward_model_learns_the_same_in_two_processes(here: Path) -> None:
    section = tiny_model.reward_params(**PLAIN, rows=13)
    reward.run(section, 1)
    alone, fed, told = (
        _losses(paths.REWARD_LOSS),
        io.tree_sha256(paths.fed("reward")),
        io.read_json(paths.REWARD_METRICS),
    )
    ranks.run("reward", section)
    assert len(alone) == 7
    assert _losses(paths.REWARD_LOSS) == pytest.approx(alone, abs=1e-4)
    assert io.tree_sha256(paths.fed("reward")) == fed
    assert _near(told, io.read_json(paths.REWARD_METRICS))


@pytest.mark.parametrize(
    ("algorithm", "together", "each"), [("dpo", 1, 1), ("kto", 4, 2)], ids=["dpo", "kto, which compares 4 in a step"]
)
def test_alignment_learns_the_same_in_two_processes(here: Path, algorithm: str, together: int, each: int) -> None:
    reward.run(tiny_model.reward_params(enabled=False), 1)
    own = {"dpo": None, "algorithm": "kto", "kto": KTO} if algorithm == "kto" else {}
    held_out = {"rows": 2, "max_new_tokens": 4, "resamples": 200, "confidence": 0.95}
    section = tiny_model.align_params(**{**PLAIN, "micro_batch_size": together}, **own, rows=12, held_out=held_out)
    align.run(section, 1)
    alone, fed, told = _losses(paths.ALIGN_LOSS), io.tree_sha256(paths.fed("align")), io.read_json(paths.ALIGN_METRICS)
    ranks.run("align", section.model_copy(update={"micro_batch_size": each}))
    assert len(alone) >= 6
    assert _losses(paths.ALIGN_LOSS) == pytest.approx(alone, abs=1e-4)
    assert io.tree_sha256(paths.fed("align")) == fed
    assert _near(told, io.read_json(paths.ALIGN_METRICS))


def _wait(what: Callable[[], Any], seconds: float = 240) -> Any:
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)
    return found


def _start(here: Path) -> tuple[subprocess.Popen[str], Callable[[], list[psutil.Process]]]:
    """`clew stage sft`, and a function that lists the processes that train."""
    command = [sys.executable, "-m", "clew", "stage", "sft"]
    stage = subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def training() -> list[psutil.Process]:
        try:
            below = psutil.Process(stage.pid).children(recursive=True)
            return [one for one in below if {"clew.rank", "-u"} <= set(one.cmdline()) and _rank(one)]
        except psutil.Error:
            return []

    return stage, training


def _finish(here: Path) -> None:
    stage, _ = _start(here)
    said = stage.communicate()[0]
    assert stage.returncode == 0, said[-4000:]


def _rank(one: psutil.Process) -> str:
    return str(one.environ().get("RANK", ""))


def test_a_killed_run_leaves_no_process_and_ends_as_an_unbroken_one(here: Path) -> None:
    """With dropout: each process's random numbers go on where they were."""
    subprocess.run(["git", "init", "-q"], check=True)
    section = tiny_model.sft_params(micro_batch_size=1, epochs=6, checkpoint_steps=1, eval_steps=4)
    ranks.write_params("sft", section, config="ddp_cpu")
    _finish(here)
    unbroken = [io.tree_sha256(path) for path in SFT_OUTS]
    facts = io.read_json(paths.RUNTIME / "sft.json")["facts"]
    assert facts["launch"] == {"config": "ddp_cpu", "processes": 2, "machines": 1, "wrapper": "ddp", "cpu": True}
    stage, training = _start(here)
    _wait(lambda: list(paths.CHECKPOINTS.glob("*/*/seal.json")))
    started = training()
    assert [_rank(one) for one in started] == ["0", "1"]
    stage.kill()  # -9: it can tell nobody
    _wait(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in started), 20)
    _finish(here)
    assert io.read_json(paths.RUNTIME / "sft.json")["facts"]["resumed_from_step"] > 0
    assert [io.tree_sha256(path) for path in SFT_OUTS] == unbroken


def test_a_process_that_is_killed_fails_the_stage_which_says_so(here: Path) -> None:
    subprocess.run(["git", "init", "-q"], check=True)
    ranks.write_params("sft", tiny_model.sft_params(micro_batch_size=1, epochs=50), config="ddp_cpu")
    before = io.tree_sha256(paths.SFT)
    stage, training = _start(here)
    _wait(lambda: list(paths.CHECKPOINTS.glob("*/*/seal.json")))
    os.kill(training()[1].pid, signal.SIGKILL)
    said = stage.communicate()[0]
    assert stage.returncode == 1
    assert "clew: error: configs/ddp_cpu.yaml: process 1: it was killed by SIGKILL: out of memory?" in said
    assert "ChildFailedError" not in said
    assert io.tree_sha256(paths.SFT) == before


def test_what_a_user_can_mend_is_told_as_in_one_process(here: Path) -> None:
    (paths.BASE / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="models/base: the tokenizer has no chat template"):
        ranks.run("sft", tiny_model.sft_params(micro_batch_size=1))


def test_fsdp_that_accelerate_quietly_turns_into_ddp_is_an_error(here: Path) -> None:
    config = (paths.CONFIGS / "fsdp.yaml").read_text().replace("use_cpu: false", "use_cpu: true")
    (paths.CONFIGS / "here.yaml").write_text(config.replace("num_processes: 8", "num_processes: 2"))
    with pytest.raises(SetupError, match=r"configs/here\.yaml: asked for fsdp, and there is ddp"):
        ranks.run("sft", tiny_model.sft_params(micro_batch_size=1), config="here")


@pytest.fixture
def sharded(here: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A configuration of torch's own FSDP over gloo: accelerate has it for GPUs, and is told that these are some."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*filter(None, sys.path), str(ranks.ROOT / "tests")]))
    monkeypatch.setattr(launch, "RANK", "examples.sharded_rank")
    config = (paths.CONFIGS / "fsdp.yaml").read_text().replace("use_cpu: false", "use_cpu: true")
    (here / paths.CONFIGS / "here.yaml").write_text(config.replace("num_processes: 8", "num_processes: 2"))
    return "here"


@pytest.mark.parametrize("changes", [{}, {"method": "full", "learning_rate": 0.001}], ids=str)
def test_fsdp_learns_the_same_as_one_process(sharded: str, changes: dict[str, Any]) -> None:
    section = tiny_model.sft_params(**PLAIN, **changes, patience=99)
    sft.run(section, tiny_model.DECODER, 1)
    alone, fed, told = _losses(paths.SFT_LOSS), io.tree_sha256(paths.fed("sft")), io.read_json(paths.SFT_METRICS)
    weights = _weights(paths.SFT)
    ranks.run("sft", section, config=sharded)
    assert _losses(paths.SFT_LOSS) == pytest.approx(alone, abs=1e-4)
    assert _apart(paths.SFT, weights) < 1e-4
    assert io.tree_sha256(paths.fed("sft")) == fed
    assert _near(told, io.read_json(paths.SFT_METRICS))
    assert io.read_json(paths.SFT / record.NAME)["launch"]["wrapper"] == "fsdp"


def test_rlhf_under_fsdp_learns_the_same_as_in_one_process(sharded: str) -> None:
    dpo, judge = tiny_model.align_params(**PLAIN, rows=12), tiny_model.reward_params(**PLAIN, rows=13)
    reward.run(judge, 1)
    align.run(dpo, 1)
    alone = _losses(paths.REWARD_LOSS), _losses(paths.ALIGN_LOSS)
    told = io.read_json(paths.REWARD_METRICS), io.read_json(paths.ALIGN_METRICS)
    ranks.run("reward", judge, config=sharded)
    ranks.run("align", dpo, config=sharded)
    assert _losses(paths.REWARD_LOSS) == pytest.approx(alone[0], abs=1e-4)
    assert _losses(paths.ALIGN_LOSS) == pytest.approx(alone[1], abs=1e-4)
    assert _near(told[0], io.read_json(paths.REWARD_METRICS))
    assert _near(told[1], io.read_json(paths.ALIGN_METRICS))


def test_one_process_where_two_were_asked_for_is_an_error(here: Path) -> None:
    """As `accelerate launch --cpu --num_processes 2` starts it."""
    ranks.write_params("sft", tiny_model.sft_params(micro_batch_size=1), config="ddp_cpu")
    asked = processes.Launch("ddp_cpu", 2, 1, "ddp", cpu=True)
    (here / "reports").mkdir()
    variables = {
        processes.ASKED: json.dumps(asdict(asked)),
        "CLEW_STAGE_PROCESS": str(os.getpid()),
        "CLEW_REPORTS": "reports",
    }
    command = ["accelerate", "launch", "--cpu", "--num_processes", "2", "-m", "clew.rank", "sft"]
    done = subprocess.run(
        [str(Path(sys.executable).parent / command[0]), *command[1:]], env=os.environ | variables, check=False
    )
    assert done.returncode
    (report,) = (here / "reports").iterdir()
    assert b"asked for 2 processes, and there is 1" in report.read_bytes()
