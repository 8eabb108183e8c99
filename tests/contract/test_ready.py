"""The ready experiments in params/: each is valid, the default is that of params.yaml, `clew params use` takes one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from ruamel.yaml import YAML

from clew import params
from clew.cli import ready
from clew.errors import ParamsError

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "params").glob("*.yaml"))
GIT = ("git", "-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_ready_experiment_is_valid(file: Path) -> None:
    params.load(file)


def test_those_that_are_promised_are_there() -> None:
    assert {file.stem for file in FILES} >= {"decoder", "encoder", "ner", "tiny"}


def test_the_default_experiment_is_that_of_params_yaml() -> None:
    """Value by value, so that comments may differ."""
    yaml = YAML(typ="safe")
    assert yaml.load((ROOT / "params/decoder.yaml").read_text()) == yaml.load((ROOT / "params.yaml").read_text())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two ready experiments, the first of which is committed as params.yaml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params").mkdir()
    for name in ("decoder", "encoder"):
        shutil.copy(ROOT / "params" / f"{name}.yaml", tmp_path / "params")
    shutil.copy(ROOT / "params/decoder.yaml", "params.yaml")
    for command in (("git", "init", "-q"), (*GIT, "add", "-A"), (*GIT, "commit", "-qm", "first")):
        subprocess.run(command, check=True, capture_output=True)
    return tmp_path


def _call(command: click.Command, *arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False)


def test_one_is_written_as_params_yaml_and_marked_in_the_list(here: Path) -> None:
    assert _call(ready.listed).stdout.splitlines()[0].startswith("* decoder ")
    assert "params.yaml is params/encoder.yaml now" in _call(ready.use, "encoder").stdout
    assert (here / "params.yaml").read_bytes() == (here / "params/encoder.yaml").read_bytes()
    first, second = _call(ready.listed).stdout.splitlines()
    assert first.startswith("  decoder    The experiment: a health help desk")
    assert second.startswith("* encoder    An encoder: all-MiniLM-L6-v2 learns to say")
    _call(ready.use, "decoder")  # nothing of params/encoder.yaml is lost
    assert params.load().model.kind == "decoder"


@pytest.mark.parametrize("tracked", [True, False])
def test_changes_that_are_not_committed_are_kept_unless_forced(here: Path, tracked: bool) -> None:
    if not tracked:
        subprocess.run((*GIT, "rm", "-q", "--cached", "params.yaml"), check=True)
        subprocess.run((*GIT, "commit", "-qm", "untracked"), check=True)
    mine = (here / "params.yaml").read_text().replace("seed: 13", "seed: 14")
    (here / "params.yaml").write_text(mine)
    with pytest.raises(ParamsError, match="its changes are not committed, and would be lost"):
        _call(ready.use, "encoder")
    assert (here / "params.yaml").read_text() == mine
    _call(ready.use, "encoder", "--force")
    assert params.load().model.kind == "encoder"


def test_committed_changes_may_go(here: Path) -> None:
    (here / "params.yaml").write_text((here / "params.yaml").read_text().replace("seed: 13", "seed: 14"))
    subprocess.run((*GIT, "commit", "-qam", "seed"), check=True)
    _call(ready.use, "encoder")
    assert params.load().model.kind == "encoder"


def test_the_nearest_name_is_told_and_a_broken_one_is_not_taken(here: Path) -> None:
    with pytest.raises(ParamsError, match=r"no `encoders`; did you mean `encoder`\?.*: decoder, encoder"):
        _call(ready.use, "encoders")
    (here / "params/encoder.yaml").write_text("seed: x\n")
    with pytest.raises(ParamsError, match=r"params/encoder\.yaml has"):
        _call(ready.use, "encoder")
    assert params.load().model.kind == "decoder"
