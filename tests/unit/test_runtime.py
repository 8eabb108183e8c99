"""What surrounds a stage."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from clew import io, runtime
from clew.errors import SetupError

CHILD = """
import pathlib, time
from clew import process
process.die_with_parent()
pathlib.Path("alive").write_text(str(__import__("os").getpid()))
time.sleep(60)
"""


@pytest.mark.parametrize("shell_stays", [False, True], ids=["exec'd by the shell", "a shell between"])
def test_a_stage_dies_with_the_process_that_started_it(tmp_path: Path, shell_stays: bool) -> None:
    """As DVC starts stages: through `sh -c`, which may replace itself by the stage or wait for it."""
    (tmp_path / "child.py").write_text(CHILD)
    command = f"{sys.executable} child.py" + ("; true" if shell_stays else "")
    starter = f"import subprocess; subprocess.run({command!r}, shell=True)"
    parent = subprocess.Popen([sys.executable, "-c", starter], cwd=tmp_path)
    mark = tmp_path / "alive"
    _wait(lambda: mark.exists() and mark.read_text() != "")
    child = psutil.Process(int(mark.read_text()))
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    _wait(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


@pytest.mark.parametrize("orphan", [True, False])
def test_a_stage_whose_dvc_is_gone_before_it_could_watch_it_ends_at_once(tmp_path: Path, orphan: bool) -> None:
    """Killed in the stage's first moments, DVC has been replaced by init when the stage looks for its parent."""
    (tmp_path / "child.py").write_text(f"import time; time.sleep({1 if orphan else 0})\n" + CHILD)
    starter = f"import subprocess, time; subprocess.Popen([{sys.executable!r}, 'child.py']); "
    starter += "" if orphan else "time.sleep(30)"
    environment = os.environ | {"DVC_STAGE": "sft"}
    parent = subprocess.Popen([sys.executable, "-c", starter], cwd=tmp_path, env=environment)
    mark = tmp_path / "alive"
    if orphan:
        parent.wait()
        time.sleep(2)
        assert not mark.exists()
    else:
        _wait(lambda: mark.exists() and mark.read_text() != "")
        parent.kill()
        parent.wait()


def _wait(until: object) -> None:
    assert callable(until)
    end = time.monotonic() + 20
    while not until():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_stage_runs_in_one_environment_and_is_recorded(tmp_path: Path) -> None:
    """clew stage, from the command line, in a repository with one source."""
    root = Path(__file__).parents[2]
    for name in ("dvc.yaml", "params.yaml", "requirements.lock"):
        (tmp_path / name).write_text((root / name).read_text())
    for number in range(20):
        text = f"word{number} is what he said and I was not happy"
        for source, line, file in (
            ("dreaddit", f"text,label\n{text},{number % 2}\n", f"{number}.csv"),
            ("medmcqa", f'{{"question": "{text}", "options": "A. x\\nB. y", "answer": "A. x"}}\n', f"{number}.jsonl"),
            ("pubmedqa", f'{{"question": "{text}", "passage": "p", "answer": "yes"}}\n', "test.jsonl"),
            ("medqa", f'{{"question": "{text}", "options": "A. x\\nB. y", "answer": "A. x"}}\n', "test.jsonl"),
            ("mtsdialog", f"dialogue,section_text\n{text},short\n", "validation.csv"),
        ):
            (tmp_path / "data/raw" / source).mkdir(parents=True, exist_ok=True)
            (tmp_path / "data/raw" / source / file).write_text(line)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    command = [sys.executable, "-m", "clew", "stage", "prepare"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    record = io.read_json(tmp_path / "metrics/runtime/prepare.json")
    assert record["outs"]["data/rows.parquet"] == io.tree_sha256(tmp_path / "data/rows.parquet")
    assert record["facts"] == {"rows": 20 + 20 + 1 + 1 + 1}
    assert record["peak_memory_bytes"] > 1 << 20
    assert record["hardware"]["cores"] >= 1


PROBE = """
import os, sys
from clew import runtime
runtime._enter_environment(fetches={fetches})
print({{name: os.environ.get(name) for name in ("HF_HUB_OFFLINE", "TRL_X", "ACCELERATE_USE_FSDP", "PYTHONHASHSEED")}})
"""


@pytest.mark.parametrize("fetches", [True, False])
def test_only_fetch_stages_see_the_network_and_no_stage_what_would_change_training(fetches: bool) -> None:
    leaks = {"TRL_X": "1", "ACCELERATE_USE_FSDP": "true", "PYTHONHASHSEED": "7"}
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"} | leaks
    command = [sys.executable, "-c", PROBE.format(fetches=fetches)]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert ast.literal_eval(printed) == {
        "HF_HUB_OFFLINE": None if fetches else "1",
        "TRL_X": None,
        "ACCELERATE_USE_FSDP": None,
        "PYTHONHASHSEED": "0",
    }


def test_what_is_edited_under_a_running_stage_stops_it() -> None:
    runtime._check_unchanged({"a.py": "1"}, {"sft": 1}, {"a.py": "1"}, {"sft": 1})
    with pytest.raises(SetupError, match=r"a\.py, b\.py, params\.yaml: sft: changed while the stage was running"):
        runtime._check_unchanged({"a.py": "1"}, {"sft": 1}, {"a.py": "2", "b.py": "1"}, {"sft": 2})


def test_a_stage_that_ran_over_an_edit_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check is made, too: params.yaml changes while the stage runs."""
    root = Path(__file__).parents[2]
    for name in ("dvc.yaml", "params.yaml", "requirements.lock"):
        (tmp_path / name).write_text((root / name).read_text())
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)

    def edits(split: object, seed: int) -> dict[str, object]:
        file = Path("params.yaml")
        file.write_text(file.read_text().replace("seed: 13", "seed: 14"))
        return {}

    monkeypatch.setattr(runtime, "_enter_environment", lambda *, fetches: None)
    monkeypatch.setattr(runtime.process, "die_with_parent", lambda: None)
    monkeypatch.setattr(runtime, "_stage", lambda _: edits)
    with pytest.raises(SetupError, match=r"params\.yaml: seed: changed while"):
        runtime.run_stage("split", None)
    assert not Path("metrics/runtime/split.json").exists()


def test_versions_that_differ_from_the_lock_are_named(tmp_path: Path) -> None:
    import numpy

    lock = tmp_path / "requirements.lock"
    lock.write_text(f"# comment\nnumpy=={numpy.__version__}\npyarrow==0.1\nno-such-package==1.0\n")
    differ = runtime.not_as_locked(lock)
    assert set(differ) == {"pyarrow", "no-such-package"}
    assert differ["no-such-package"] == "none, not 1.0"


def test_outs_are_read_from_dvc_yaml_with_the_item_filled_in() -> None:
    file = Path(__file__).parents[2] / "dvc.yaml"
    assert runtime.outs("predict@sft", file) == ["data/predictions/sft.parquet"]
    data = ["data/fed/sft.parquet", "data/ledger/sft.parquet"]
    assert runtime.outs("sft", file) == ["models/sft", *data, "metrics/plots/sft_loss.csv", "metrics/sft.json"]
    assert runtime.outs("none", file) == []
