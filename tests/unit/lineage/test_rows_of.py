"""`clew rows of MODEL`: the rows that a model was made from, by path and md5."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from clew.cli.main import app
from clew.errors import ClewError
from examples.rows_repository import Repository, lock, row, stages

ROWS = [row(f"post number {k} of the day", "yes" if k % 2 else "no", k) for k in range(8)]
SIDE = {ROWS[0]["text"]: "test", ROWS[1]["text"]: "valid"}
IDS = [one["row_id"] for one in ROWS]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    made = Repository(tmp_path / "repository")
    monkeypatch.chdir(made.folder)
    made.run(ROWS, side=SIDE, models=["sft", "aligned", "int8"])
    made.commit("Train")
    return made


def _of(*arguments: str) -> list[str]:
    done = CliRunner().invoke(app, ["rows", "of", *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def _error(*arguments: str) -> str:
    with pytest.raises(ClewError) as error:
        _of(*arguments)
    return str(error.value)


@pytest.mark.parametrize("model", ["sft", "models/sft", "models/int8/", "aligned"])
def test_every_model_leads_to_its_training_rows(repository: Repository, model: str) -> None:
    assert [line.split("\t")[0] for line in _of(model)] == IDS[2:]
    assert _of(model)[0] == f"{IDS[2]}\tweb\tposts.csv\t2\tstress"


def test_other_sides_counts_and_json(repository: Repository) -> None:
    assert [json.loads(line)["row_id"] for line in _of("int8", "--side", "valid", "--json")] == [IDS[1]]
    assert json.loads(_of("int8", "--side", "test", "--json")[0]) == {
        "row_id": IDS[0],
        "source": "web",
        "file": "posts.csv",
        "record": 0,
        "task": "stress",
    }
    assert [line.split() for line in _of("sft", "--count")] == [["6", "web/stress"]]
    assert json.loads(_of("sft", "--count", "--json")[0]) == {"source": "web", "task": "stress", "rows": 6}


def test_a_model_that_was_not_trained_again_keeps_its_old_rows(repository: Repository) -> None:
    """The data stages ran again and sft did not: the lock's train.parquet is not what the model saw."""
    old = (repository.folder / "dvc.lock").read_text()
    repository.run(ROWS[:5], side=SIDE)
    new = (repository.folder / "dvc.lock").read_text()
    mixed = new[: new.index("  sft:")] + old[old.index("  sft:") :]
    (repository.folder / "dvc.lock").write_text(mixed)
    assert [line.split("\t")[0] for line in _of("sft")] == IDS[2:]
    assert [line.split("\t")[0] for line in _of("int8")] == IDS[2:]


def test_a_chain_that_this_lock_has_lost_is_found_in_the_history(repository: Repository) -> None:
    """int8 was not made again after sft was: who made its sft stands in an earlier commit."""
    old = (repository.folder / "dvc.lock").read_text()
    md5s = repository.run(ROWS[:5], side=SIDE)
    new = lock(stages(md5s, ["sft"]))
    (repository.folder / "dvc.lock").write_text(new + old[old.index("  int8:") :])
    assert [line.split("\t")[0] for line in _of("sft")] == IDS[2:5]
    assert [line.split("\t")[0] for line in _of("int8")] == IDS[2:]
    assert len(_of("sft", "--rev", "HEAD")) == 6


def test_what_there_is_not(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "in8 (work tree): no such model. Did you mean `int8`? There are: aligned, int8, sft." in _error("in8")
    assert "--side dev: no such side" in _error("sft", "--side", "dev")
    assert "nowhere: no such revision" in _error("sft", "--rev", "nowhere")
    md5 = repository.run(ROWS[:4])["data/train.parquet"]
    repository.cached(md5).unlink()
    assert f"the cache lacks data/train.parquet ({md5})" in _error("sft")
    bare = tmp_path / "bare.git"
    subprocess.run(["git", "clone", "-q", "--bare", str(repository.folder), str(bare)], check=True)
    monkeypatch.chdir(bare)
    assert "models/sft (HEAD): the cache lacks data/train.parquet" in _error("sft")


def test_the_base_model_has_no_rows_and_a_repository_without_models_says_so(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (repository.folder / "dvc.lock").read_text()
    base = (
        f"  fetch_model:\n    cmd: x\n    outs:\n    - path: models/base\n      hash: md5\n      md5: {'0' * 32}.dir\n"
    )
    (repository.folder / "dvc.lock").write_text(text + base)
    assert "It is the base model: what it was trained on is unknown" in _error("base")
    (repository.folder / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    assert "work tree: dvc.lock names no model. Run `dvc repro`" in _error("sft")
    (repository.folder / "dvc.lock").write_text("<<<<<<< ours\n")
    assert "conflict markers" in _error("sft")
    empty = Repository(tmp_path / "empty")
    monkeypatch.chdir(empty.folder)
    assert "dvc.lock names no model" in _error("sft")
