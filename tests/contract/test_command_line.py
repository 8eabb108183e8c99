"""The command line: fast, documented, one error boundary."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {
    *("accelerate", "aif360", "altair", "cleanlab", "datasets", "dvc", "fairlearn", "gguf", "huggingface_hub"),
    *("jinja2", "numpy", "pandas", "peft", "pyarrow", "pydantic", "sacrebleu", "sklearn", "torch", "torchao"),
    *("transformers", "trl"),
}


def _clew(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "clew", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_help_takes_less_than_300_ms_of_processor_time() -> None:
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert _clew("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.3


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, clew.cli.main; print('\\n'.join(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "clew.cli.main" in printed.split()
    assert not {name.split(".")[0] for name in printed.split()} & HEAVY


LIGHT_STAGES = {  # stage: what it may not import merely to start
    "fetch_data": "torch transformers trl sklearn aif360 cleanlab pandas",
    "fetch_model": "torch transformers trl sklearn aif360 cleanlab pandas",
    "align": "torch transformers trl aif360 cleanlab sklearn altair",
    "compress": "torch transformers trl aif360 cleanlab sklearn pandas",
    "predict": "torch transformers trl aif360 cleanlab sklearn pandas",
    "prepare": "torch transformers trl sklearn aif360 cleanlab pandas",
    "clean": "torch transformers trl aif360",
    "split": "torch transformers trl sklearn aif360 cleanlab pandas",
    "balance": "torch transformers trl cleanlab",
    "sft": "torch transformers trl aif360 cleanlab sklearn altair",
    "evaluate": "torch transformers trl aif360 cleanlab",
    "fairness": "torch transformers trl cleanlab",
    "report": "torch transformers trl aif360 cleanlab",
}


@pytest.mark.parametrize(("stage", "heavy"), LIGHT_STAGES.items())
def test_a_stage_starts_without_what_it_does_not_need(stage: str, heavy: str) -> None:
    code = (
        f"import sys, clew.runtime, clew.params, clew.stages.{stage}\n"
        "clew.params.load()\nprint('\\n'.join(sys.modules))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {name.split(".")[0] for name in printed.split()} & set(heavy.split())


def _commands() -> list[list[str]]:
    import typer

    from clew.cli.main import app

    root = typer.main.get_command(app)
    found = []
    for name, command in root.commands.items():
        found += [[name, sub] for sub in getattr(command, "commands", {})] or [[name]]
    return found


def test_every_command_is_documented_with_an_example() -> None:
    commands = _commands()
    assert len(commands) >= 4
    readme = "".join(path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
    for command in commands:
        assert "Example: clew " + " ".join(command) in _clew(*command, "--help").stdout
        assert "clew " + " ".join(command) in readme, f"clew {' '.join(command)} is not in README.md or docs/"


def test_what_the_user_can_mend_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    done = _clew("params", "check", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "clew: error: params.yaml: the file does not exist. Run clew in the root of an experiment's repository.\n"
    )


def test_a_stage_that_does_not_exist_is_told_with_the_nearest() -> None:
    done = _clew("stage", "cleen")
    assert "there is no stage `cleen`; did you mean `clean`?" in done.stderr
    assert _clew("stage", "predict").stderr.startswith("clew: error: clew stage: stage predict needs an item.")
    assert "takes no item" in _clew("stage", "clean", "x").stderr
    assert "`int4` is none of compress.methods. Items: int8." in _clew("stage", "compress", "int4").stderr


def test_a_stage_outside_git_says_so(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    command = [sys.executable, "-m", "clew", "stage", "clean"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "git finds no repository here (not a git repository" in done.stderr


def test_no_space_left_is_told(tmp_path: Path) -> None:
    code = (
        "import errno, sys\n"
        "from clew.cli import main, params\n"
        "def full(): raise OSError(errno.ENOSPC, 'No space left on device', 'models/sft')\n"
        "main.app.command(name='full')(full)\n"
        "sys.argv = ['clew', 'full']\n"
        "main.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("clew: error: models/sft: no space left on the device. Free some space")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_really_full_disk_is_told_by_every_writer(tmp_path: Path) -> None:
    """On a file system of 1 MiB: clew's own files, parquet, safetensors and torch's checkpoints."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], check=False)
    if mounted.returncode:
        pytest.skip("this container may not mount")
    writers = {
        "io": "io.write_json(Path('x.json'), 'x' * (4 << 20))",
        "parquet": "io.write_parquet(Path('x.parquet'), [{'a': os.urandom(4 << 20)}], pa.schema([('a', pa.binary())]))",
        "safetensors": "from safetensors.numpy import save_file; save_file({'x': np.zeros(1 << 20)}, 'x.safetensors')",
        "torch": "import torch; torch.save(torch.zeros(1 << 20), 'x.pt')",
    }
    try:
        for name, writer in writers.items():
            code = (
                "import os, sys, numpy as np, pyarrow as pa\nfrom pathlib import Path\nfrom clew import io\n"
                f"from clew.cli import main\ndef full(): {writer}\n"
                "main.app.command(name='full')(full)\nsys.argv = ['clew', 'full']\nmain.main()"
            )
            done = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
            )
            assert (done.returncode, "no space left on the device" in done.stderr) == (1, True), (
                f"{name}: {done.stderr}"
            )
            for left in tmp_path.iterdir():
                assert name in ("safetensors", "torch"), f"{name} left {left}"
                left.unlink()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=False)
