"""The index of the history: complete, incremental, mended by itself, shared by processes."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from clew.history import index, repository, snapshot
from clew.history.index import Index
from examples.history import PIPELINE, commit, experiment, git, lock


@contextmanager
def _opened(folder: Path) -> Iterator[Index]:
    with closing(index.open_index(repository.open_repository(folder))) as found:
        yield found


def _titles(folder: Path) -> list[str]:
    with _opened(folder) as found:
        return [entry.commit.title for entry in found.entries()]


def test_every_branch_tag_and_experiment_is_in_it(folder: Path) -> None:
    first = commit(folder, "First", experiment(0.1, 0.5))
    git(folder, "switch", "-q", "-c", "side")
    commit(folder, "Side", experiment(0.2, 0.6))
    git(folder, "switch", "-q", "--detach", first)
    exp = commit(folder, "Experiment", experiment(0.3, 0.7))
    git(folder, "update-ref", "refs/exps/ab/cdef/hazy-dawn", exp)
    git(folder, "switch", "-q", "main")
    assert sorted(_titles(folder)) == ["Experiment", "First", "Side"]


def test_a_commit_has_what_its_files_say(folder: Path) -> None:
    commit(folder, "First", experiment(0.1, 0.5))
    with _opened(folder) as found:
        (entry,) = found.entries()
        assert entry.params is not None
        assert entry.lock is not None
        content = found.contents([entry.params, *entry.metrics])
        assert content[entry.params] == {"train.rate": 0.1, "train.name": "small"}
        assert content[entry.metrics[0]] == {"sft.stress.f1": 0.5}
        assert found.paths(entry.metrics) == {entry.metrics[0]: "metrics/quality.json"}
        rows = found.database.execute("SELECT made, path, md5, size FROM artifacts ORDER BY made").fetchall()
        assert rows == [(0, "data/train.in", "a" * 32, 10), (1, "metrics/quality.json", f"{500000:032x}", 10)]


def test_only_what_is_new_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(folder, "First", experiment(0.1, 0.5))
    commit(folder, "Words only", {"README.md": "x"})
    with _opened(folder):
        pass
    read: list[str] = []
    original = repository.Tree.read
    monkeypatch.setattr(repository.Tree, "read", lambda self, blob: read.append(blob) or original(self, blob))
    with _opened(folder) as found:
        assert [entry.changed for entry in found.entries()] == [True, False]
    assert not read
    commit(folder, "Rate", {"params.yaml": "train:\n  rate: 0.9\n"})
    with _opened(folder) as found:
        assert [entry.changed for entry in found.entries()] == [True, False, True]
    assert len(read) == 2, "dvc.yaml, to know the metrics, and params.yaml"


def test_a_deleted_branch_is_gone(folder: Path) -> None:
    commit(folder, "First", {})
    git(folder, "switch", "-q", "-c", "side")
    commit(folder, "Side", {})
    assert len(_titles(folder)) == 2
    git(folder, "switch", "-q", "main")
    git(folder, "branch", "-q", "-D", "side")
    assert _titles(folder) == ["First"]


@pytest.mark.parametrize("damage", [b"", b"not a database at all, but long enough to be read as one" * 99])
def test_a_damaged_index_is_made_anew(folder: Path, damage: bytes) -> None:
    commit(folder, "First", experiment(0.1, 0.5))
    assert _titles(folder) == ["First"]
    (folder / ".clew/history.sqlite").write_bytes(damage)
    assert _titles(folder) == ["First"]


def test_an_index_cut_short_is_made_anew(folder: Path) -> None:
    for number in range(30):
        commit(folder, f"Number {number}", experiment(number, number))
    assert len(_titles(folder)) == 30
    place = folder / ".clew/history.sqlite"
    place.write_bytes(place.read_bytes()[: place.stat().st_size // 2])
    assert len(_titles(folder)) == 30


def test_an_index_of_another_version_is_made_anew(folder: Path) -> None:
    commit(folder, "First", experiment(0.1, 0.5))
    assert _titles(folder) == ["First"]
    with closing(sqlite3.connect(folder / ".clew/history.sqlite")) as database:
        database.execute("DROP TABLE commits")
        database.execute("PRAGMA user_version = 999")
    assert _titles(folder) == ["First"]


def test_several_processes_may_make_it_at_once(folder: Path) -> None:
    for number in range(20):
        commit(folder, f"Number {number}", experiment(number, number))
    code = (
        "from pathlib import Path; from clew.history import index, repository\n"
        "print(len(index.open_index(repository.open_repository(Path('.'))).entries()))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    assert [process.communicate() for process in started] == [(b"20\n", b"")] * 4


def test_what_cannot_be_read_is_told_and_spoils_nothing_else(folder: Path) -> None:
    commit(folder, "Good", experiment(0.1, 0.5))
    conflict = {"dvc.lock": "<<<<<<< HEAD\n" + lock() + "=======\n>>>>>>> side\n", "metrics/quality.json": "{"}
    commit(folder, "Conflict", conflict)
    commit(folder, "Before", {"params.yaml": None, "dvc.yaml": None, "dvc.lock": None})
    with _opened(folder) as found:
        good, bad, none = found.entries()
        assert found.problems([good.lock or 0, *good.metrics]) == {}
        told = " ".join(found.problems([bad.lock or 0, *bad.metrics]).values())
        assert "dvc.lock: it holds conflict markers" in told
        assert "metrics/quality.json: not JSON" in told
        assert (none.params, none.lock, none.metrics) == (None, None, ())


def test_a_bare_repository_is_read_and_not_written_to(folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("CLEW_CACHE", str(tmp_path / "cache"))
    commit(folder, "First", experiment(0.1, 0.5))
    git(tmp_path, "clone", "-q", "--bare", str(folder), "bare.git")
    before = sorted(tmp_path.glob("bare.git/**/*"))
    assert _titles(tmp_path / "bare.git") == ["First"]
    assert sorted(tmp_path.glob("bare.git/**/*")) == before


def test_templates_in_the_pipeline_follow_each_commits_params(folder: Path) -> None:
    pipeline = PIPELINE.replace("metrics/quality.json: {cache: false}", '"m/${kind}.json"')
    files = {"dvc.yaml": pipeline, "m/a.json": '{"x": 1}', "m/b.json": '{"x": 2}'}
    commit(folder, "A", files | {"params.yaml": "kind: a\n"})
    commit(folder, "B", {"params.yaml": "kind: b\n"})
    with _opened(folder) as found:
        seen = [found.contents(entry.metrics)[entry.metrics[0]] for entry in found.entries()]
    assert seen == [{"x": 1}, {"x": 2}]


def test_the_index_and_a_snapshot_say_the_same(folder: Path) -> None:
    for number in range(5):
        commit(folder, f"Number {number}", experiment(number / 10, number / 7))
    repo = repository.open_repository(folder)
    with _opened(folder) as found:
        for entry in found.entries():
            taken = snapshot.take(repo, entry.commit.id)
            contents = found.contents([entry.params or 0, *entry.metrics])
            assert contents[entry.params or 0] == taken.params
            paths = found.paths(entry.metrics)
            assert {paths[number]: contents[number] for number in entry.metrics} == taken.metrics
            assert found.contents([entry.lock or 0])[entry.lock or 0].keys() == taken.stages.keys()
