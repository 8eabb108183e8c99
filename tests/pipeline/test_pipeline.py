"""The whole pipeline with the tiny model: made twice to the byte, killed and resumed, nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
from conftest import DVC, GIT, environment, run, tiny_params
from ruamel.yaml import YAML

pytestmark = pytest.mark.slow


def _lock(folder: Path) -> dict[str, dict[str, Any]]:
    loaded: dict[str, dict[str, Any]] = YAML(typ="safe").load((folder / "dvc.lock").read_text())["stages"]
    return loaded


OTHER_KERNELS = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "1", "TZ": "Asia/Tokyo"}
"""What a user's environment may hold, and must not reach the bytes."""


def test_a_clone_that_has_only_git_makes_everything_again_to_the_byte(tiny: Path, tmp_path: Path) -> None:
    """With the committed lock and metrics: nothing is taken as made that was not made here, and the lock stays."""
    run((*GIT, "add", "-A"), tiny)
    run((*GIT, "commit", "-qm", "made"), tiny)
    other = tmp_path / "a much longer path than the other"
    run(("git", "clone", "-q", str(tiny), str(other)), tmp_path)
    told = run([DVC, "repro"], other, OTHER_KERNELS).stdout
    assert "skipping" not in told
    assert told.count("> clew stage") == len(_lock(tiny))
    differ = [stage for stage, block in _lock(tiny).items() if block != _lock(other)[stage]]
    assert not differ
    assert (other / "dvc.lock").read_bytes() == (tiny / "dvc.lock").read_bytes()


def test_a_second_run_has_nothing_to_do(tiny: Path) -> None:
    assert "Data and pipelines are up to date" in run([DVC, "repro"], tiny).stdout


def _stages_alive(folder: Path) -> list[psutil.Process]:
    alive = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder) and "clew" in " ".join(process.cmdline()):
                alive.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return alive


@pytest.mark.parametrize("stage", ["sft", "reward", "align"])
def test_killed_training_leaves_no_child_and_resumes_to_the_same_bytes(tiny: Path, tmp_path: Path, stage: str) -> None:
    folder = tmp_path / "killed"
    shutil.copytree(tiny, folder, symlinks=True)
    command = [DVC, "repro", "--force", "--single-item", stage]
    dvc = subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _wait(lambda: _checkpoints(folder, stage), 180, f"{stage} wrote no checkpoint")
    assert _stages_alive(folder)
    os.kill(dvc.pid, signal.SIGKILL)
    dvc.wait()
    _wait(lambda: not _stages_alive(folder), 5, "the stage outlived dvc")
    assert _checkpoints(folder, stage), "the kill came too late: training had ended"
    run(command, folder)
    record = json.loads((folder / f"metrics/runtime/{stage}.json").read_text())
    assert record["facts"]["resumed_from_step"] > 0
    assert _lock(folder)[stage] == _lock(tiny)[stage]
    assert not _checkpoints(folder, stage)


def _checkpoints(folder: Path, stage: str) -> list[Path]:
    return list((folder / ".clew/checkpoints").glob(f"{stage}-*/checkpoint-*/seal.json"))


def _wait(until: object, seconds: float, otherwise: str) -> None:
    assert callable(until)
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, otherwise
        time.sleep(0.02)


def test_no_row_is_lost_between_stages(tiny: Path) -> None:
    def rows(name: str) -> int:
        return int(pq.read_metadata(tiny / "data" / f"{name}.parquet").num_rows)

    sides = sum(rows(f"splits/{side}") for side in ("train", "valid", "test"))
    figures = {name: json.loads((tiny / f"metrics/{name}.json").read_text()) for name in ("sft", "reward", "align")}
    chain = {  # stage: rows in, rows out
        "prepare": (None, rows("rows")),
        "clean": (rows("rows"), rows("clean")),
        "split": (rows("clean"), sides),
        "select": (rows("splits/train"), rows("selected")),
        "augment": (rows("selected"), rows("augmented")),
        "balance": (rows("augmented"), rows("train")),
        "sft": (rows("train"), figures["sft"]["rows"]["train"]),
        "reward": (rows("train"), figures["reward"]["pairs"]["all"]),
        "align": (rows("train"), figures["align"]["pairs"]["all"]),
    }
    assert {path.stem for path in (tiny / "data/ledger").glob("*.parquet")} == set(chain)
    for stage, (rows_in, rows_out) in chain.items():
        ledger = pq.read_table(tiny / f"data/ledger/{stage}.parquet").to_pylist()
        count = Counter(entry["decision"] for entry in ledger)
        stay = count["kept"] + count["changed"]
        assert rows_in in (None, stay + count["dropped"]), stage
        assert rows_out == stay + count["added"], stage
        assert all(entry["rule"] for entry in ledger if entry["decision"] != "kept"), stage
    assert rows("splits/train") > rows("selected") < rows("augmented")
    accounted = pq.read_metadata(tiny / "data/ledger/prepare.parquet").num_rows
    sources = {task["source"] for task in tiny_params()["prepare"]["tasks"].values()}
    raw = [path for source in sources for path in (tiny / "data/raw" / source).rglob("*") if path.is_file()]
    assert accounted == sum(map(_records, raw))


def _records(path: Path) -> int:
    """Records in a raw file, counted without clew."""
    if path.suffix == ".csv":
        import pandas as pd

        return len(pd.read_csv(path))
    return sum(bool(line.strip()) for line in path.read_text().splitlines())


def test_every_variant_answers_every_test_row(tiny: Path) -> None:
    wanted = pq.read_table(tiny / "data/splits/test.parquet")["row_id"].to_pylist()
    variants = tiny_params()["predict"]["variants"]
    assert len(variants) == 4
    for variant in variants:
        assert pq.read_table(tiny / f"data/predictions/{variant}.parquet")["row_id"].to_pylist() == wanted


def test_nothing_volatile_is_in_the_outs(tiny: Path) -> None:
    host = os.uname().nodename.encode()
    forbidden = [str(tiny).encode(), b"training_args", *([host] if len(host) > 6 and host != b"localhost" else [])]
    read = 0
    for folder in ("models", "data", "reports"):
        for path in (tiny / folder).rglob("*"):
            if path.is_file() and path.name != "runtime.html":
                content = path.read_bytes()
                assert not [word for word in forbidden if word in content], path
                read += 1
    assert read > 60
    names = {path.name for path in (tiny / "models").rglob("*")}
    assert not {name for name in names if name.endswith((".bin", ".pt", ".pkl", ".pickle", ".py"))}
    assert "model.safetensors" in names


def test_int8_is_really_smaller_and_every_model_is_whole(tiny: Path) -> None:
    def size(variant: str) -> int:
        return sum(path.stat().st_size for path in (tiny / "models" / variant).glob("*.safetensors"))

    assert size("int8") < 0.6 * size("aligned")
    for variant in ("base", "sft", "aligned", "int8"):
        assert {"config.json", "tokenizer.json"} <= {path.name for path in (tiny / "models" / variant).iterdir()}


def test_metrics_have_designs_form(tiny: Path) -> None:
    quality = json.loads((tiny / "metrics/quality.json").read_text())
    accuracy = quality["sft"]["stress"]["accuracy"]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert accuracy["n"] > 0
    fairness = json.loads((tiny / "metrics/fairness.json").read_text())["sft"]
    assert "average_abs_odds_difference" in fairness["stress"]["pronoun"]
    assert fairness["vignettes"]["patient"]["average_odds_difference"]["value"] is None
    assert fairness["vignettes"]["patient"]["average_odds_difference"]["reason"]
    runtime = json.loads((tiny / "metrics/runtime/sft.json").read_text())
    assert runtime["seconds"] > 0
    assert len(runtime["outs"]["models/sft"]) == 64


def test_dvc_reads_the_metrics_plots_and_artifacts(tiny: Path) -> None:
    shown = json.loads(run([DVC, "metrics", "show", "--json"], tiny).stdout)
    assert "metrics/quality.json" in shown[""]["data"]
    run([DVC, "plots", "show", "-o", "plots"], tiny)
    page = (tiny / "plots/index.html").read_text()
    for title in ("Loss of supervised fine-tuning", "Confusion", "Rates by group"):
        assert title in page
    (commit,) = json.loads(run([DVC, "exp", "show", "--json"], tiny).stdout)[1:]
    assert commit["data"]["metrics"]["metrics/quality.json"]["data"]["sft"]["stress"]
    from dvc.repo import Repo

    with Repo(str(tiny)) as repo:
        assert set(repo.artifacts.read()["dvc.yaml"]) == {"base", "sft", "reward", "aligned", "int8"}


def test_a_typo_stops_the_pipeline_at_once(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "typo"
    shutil.copytree(tiny, folder, symlinks=True, ignore=shutil.ignore_patterns("models", "cache"))
    params = folder / "params.yaml"
    params.write_text(params.read_text().replace("rejected:", "rejectd:"))
    done = subprocess.run([DVC, "repro"], cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "unknown name. Did you mean `rejected`?" in done.stderr


def test_align_switched_off_passes_the_sft_model_on(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "off"
    shutil.copytree(tiny, folder, symlinks=True)
    params = folder / "params.yaml"
    tree = YAML(typ="safe").load(params.read_text())
    tree["align"]["enabled"] = False
    with params.open("w") as file:
        YAML(typ="safe").dump(tree, file)
    run([DVC, "repro", "align"], folder)
    digests = {out["path"]: out["md5"] for stage in ("sft", "align") for out in _lock(folder)[stage]["outs"]}
    assert digests["models/aligned"] == digests["models/sft"]
    assert json.loads((folder / "metrics/align.json").read_text()) == {"enabled": False}


def test_sft_reward_and_rl_are_one_chain_in_the_lock(tiny: Path, tmp_path: Path) -> None:
    """With grpo and the reward model: what one stage made is what the next one was given, to the digest."""
    folder = tmp_path / "grpo"
    shutil.copytree(tiny, folder, symlinks=True)
    params = folder / "params.yaml"
    tree = YAML(typ="safe").load(params.read_text())
    hacking = {"steps": 2, "length": 1.5, "repetition": 0.2, "distinct": 0.2, "kl": 1.0}
    rewards = [
        {"kind": "model", "weight": 1.0},
        {"kind": "file", "file": "mine.py", "function": "short", "weight": 0.5},
    ]
    tree["align"] |= {
        "algorithm": "grpo",
        "rows": 4,
        "divergence": None,
        "dpo": None,
        "grpo": {
            "generations": 2,
            "max_new_tokens": 8,
            "temperature": 1.0,
            "beta": 0.04,
            "epsilon": 0.2,
            "loss": "dapo",
            "scale_rewards": "group",
            "rewards": rewards,
            "hacking": hacking,
        },
        "held_out": {"rows": 4, "max_new_tokens": 8, "resamples": 200, "confidence": 0.95},
    }
    with params.open("w") as file:
        YAML(typ="safe").dump(tree, file)
    mine = folder / "rewards/mine.py"
    mine.write_text("def short(completions, rows):\n    return [1 / (1 + len(text)) for text in completions]\n")
    run([DVC, "repro", "align"], folder)
    lock = _lock(folder)
    made = {out["path"]: out["md5"] for stage in ("sft", "reward") for out in lock[stage]["outs"]}
    for stage, models in {"reward": ["models/sft"], "align": ["models/sft", "models/reward"]}.items():
        given = {dep["path"]: dep["md5"] for dep in lock[stage]["deps"]}
        assert [given[path] for path in models] == [made[path] for path in models]
    metrics = json.loads((folder / "metrics/align.json").read_text())
    assert metrics["algorithm"] == "grpo"
    assert metrics["held_out"]["win_rate"]["n"] == 4
    mine.write_text("def short(completions, rows):\n    return [2 / (1 + len(text)) for text in completions]\n")
    assert "modified" in run([DVC, "status", "align"], folder).stdout
