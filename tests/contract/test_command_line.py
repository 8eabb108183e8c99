"""The command line: fast, documented, one error boundary."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import click
import pytest

from clew.cli.groups import Later
from clew.cli.main import app

ROOT = Path(__file__).parents[2]
HEAVY = {
    *("accelerate", "aif360", "altair", "cleanlab", "datasets", "dvc", "fairlearn", "gguf", "huggingface_hub"),
    *("jinja2", "numpy", "pandas", "peft", "pyarrow", "pydantic", "sacrebleu", "sklearn", "torch", "torchao"),
    *("transformers", "trl", "typer", "pygit2", "rich", "ruamel"),
}


def _clew(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "clew", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_help_takes_less_than_200_ms_of_processor_time() -> None:
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert _clew("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.2


def _modules(*arguments: str) -> set[str]:
    """What is imported where `clew` is called so, from this repository's root."""
    code = (
        f"import sys\nsys.argv = ['clew', *{arguments!r}]\nfrom clew.cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\nprint('modules', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("modules ")[2].split())


@pytest.mark.parametrize("arguments", [["--help"], ["rows", "--help"], ["nonsense"]])
def test_a_list_of_commands_imports_none_of_them(arguments: list[str]) -> None:
    found = _modules(*arguments)
    assert {name for name in found if name.startswith("clew.")} == {
        "clew.cli",
        "clew.cli.garbage",
        "clew.cli.groups",
        "clew.cli.main",
        "clew.errors",
    }
    assert not {name.split(".")[0] for name in found} & HEAVY


def test_the_help_of_a_command_imports_no_other_and_nothing_heavy() -> None:
    for command in _commands():
        found = _modules(*command, "--help")
        assert not {name.split(".")[0] for name in found} & HEAVY, command
        assert len([name for name in found if name.startswith("clew.")]) == 6, command


LIGHT_STAGES = {  # stage: what it may not import merely to start
    "fetch_data": "torch transformers trl sklearn aif360 cleanlab pandas",
    "fetch_model": "torch transformers trl sklearn aif360 cleanlab pandas",
    "align": "torch transformers trl aif360 cleanlab sklearn altair",
    "compress": "torch transformers trl aif360 cleanlab sklearn pandas",
    "predict": "torch transformers trl aif360 cleanlab sklearn pandas",
    "prepare": "torch transformers trl sklearn aif360 cleanlab pandas",
    "clean": "torch transformers trl aif360",
    "split": "torch transformers trl sklearn aif360 cleanlab pandas",
    "select": "torch transformers trl sklearn aif360 cleanlab pandas",
    "augment": "torch transformers trl sklearn aif360 cleanlab pandas",
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


def _commands(group: click.Group = app) -> list[list[str]]:
    """Every command's words: [["stage"], …, ["rows", "key"], …]."""
    found = []
    for name, command in group.commands.items():
        found += [[name, *words] for words in _commands(command)] if isinstance(command, click.Group) else [[name]]
    return found


def _command(words: list[str]) -> Later:
    found: click.Command = app
    for word in words:
        assert isinstance(found, click.Group)
        found = found.commands[word]
    assert isinstance(found, Later)
    return found


@pytest.mark.parametrize("words", _commands(), ids=" ".join)
def test_the_list_says_of_a_command_what_its_help_begins_with(words: list[str]) -> None:
    later = _command(words)
    command = later.load()
    assert command.name == later.name == words[-1]
    assert later.short_help == command.get_short_help_str(limit=1000)
    assert all(parameter.help for parameter in command.params), "a parameter without help"


def test_the_list_of_commands_is_complete_and_in_order() -> None:
    said = _clew("--help").stdout
    listed = re.findall(r"^  ([a-z-]+)  +[A-Z]", said.partition("Commands:")[2], re.MULTILINE)
    assert listed == list(app.commands)
    assert listed[:3] == ["stage", "trace", "compare"]


def test_the_nearest_command_and_option_are_told() -> None:
    for arguments, near in (
        (["comparee"], "'compare'"),
        (["rows", "tracee"], "'trace'"),
        (["compare", "--htm", "x"], "'--html'"),
    ):
        done = _clew(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert near in done.stderr.splitlines()[-1], done.stderr


def test_without_a_command_the_help_is_told_on_stderr() -> None:
    for group in ([], ["rows"]):
        done = _clew(*group)
        assert (done.returncode, done.stdout) == (2, "")
        assert "Commands:" in done.stderr


def test_an_interrupted_command_says_nothing(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\nfrom clew.cli import main\n"
        "def long(): os.kill(os.getpid(), signal.SIGINT)\n"
        "main.app.command(name='long')(long)\nsys.argv = ['clew', 'long']\nmain.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    code = (
        "import click, sys\nfrom clew.cli import main\n"
        "def long():\n    for line in range(100000): click.echo(line)\n"
        "main.app.command(name='long')(long)\nsys.argv = ['clew', 'long']\nmain.main()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline() == b"0\n"
        running.stdout.close()
        assert running.stderr.read() == b""


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


@pytest.mark.parametrize(("arguments", "usual"), [(["stage", "cleen"], True), (["params", "schema"], False)])
def test_a_stage_looks_for_garbage_as_usual(arguments: list[str], usual: bool) -> None:
    """A stage's garbage can hold a model's memory; the other commands end soon."""
    code = (
        f"import gc, sys\nbefore = gc.get_threshold()\nsys.argv = ['clew', *{arguments!r}]\n"
        "from clew.cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\nprint(gc.get_threshold() == before)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == str(usual)


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


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_a_terminal_cannot_write_is_written_as_its_code(tmp_path: Path, encoding: str) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    done = subprocess.run(
        [sys.executable, "-m", "clew", "compare", "←".encode() + b"\xe9"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, b"Traceback" in done.stderr) == (1, False)
    assert b"\\u2190" in done.stderr


def test_the_merge_driver_tells_files_that_it_cannot_read(tmp_path: Path) -> None:
    done = _clew("merge-driver", "run", "nope", str(tmp_path), "nope", cwd=tmp_path)
    assert done.returncode == 1
    assert "cannot be merged" in done.stderr


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
