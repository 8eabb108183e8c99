"""The index of the history: complete, incremental, mended by itself, shared by processes."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from clew.errors import HistoryError
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


def test_a_damage_that_is_met_at_a_question_is_mended_and_asked_again(folder: Path) -> None:
    for number in range(60):
        commit(folder, f"Number {number}", experiment(number, number))
    with _opened(folder) as found:
        wanted = found.contents([n for entry in found.entries() for n in entry.documents])
    place = folder / ".clew/history.sqlite"
    whole = place.read_bytes()
    repo = repository.open_repository(folder)

    def question(found: Index) -> object:
        return found.contents([n for entry in found.entries() for n in entry.documents])

    for page in range(1, len(whole) // 4096):
        for damage in (bytes(4096), b"\xff\x07" * 2048):
            place.write_bytes(whole[: page * 4096] + damage + whole[(page + 1) * 4096 :])
            assert index.ask(repo, question) == wanted


def test_a_question_that_met_a_damage_leaves_no_damaged_index(folder: Path) -> None:
    commit(folder, "First", experiment(0.1, 0.5))
    with _opened(folder):
        pass
    place = folder / ".clew/history.sqlite"
    with closing(sqlite3.connect(place)) as database:
        (page,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'documents'").fetchone()
    whole = place.read_bytes()
    place.write_bytes(whole[: (page - 1) * 4096] + bytes(4096) + whole[page * 4096 :])
    with _opened(folder) as found, pytest.raises(index.Damaged, match="made anew"):
        found.contents(found.entries()[0].documents)
    with _opened(folder) as found:
        assert found.contents(found.entries()[0].documents)


@pytest.mark.parametrize("place", [".clew", ".clew/history.sqlite/inner"])
def test_without_a_place_it_says_so_in_a_line(folder: Path, place: str) -> None:
    commit(folder, "First", experiment(0.1, 0.5))
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).write_text("in the way")
    with pytest.raises(HistoryError, match="the history's index cannot be kept") as told, _opened(folder):
        pass
    assert isinstance(told.value, sqlite3.Error)


def test_a_lock_that_is_held_too_long_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(folder, "First", experiment(0.1, 0.5))
    with _opened(folder):
        pass
    commit(folder, "Second", experiment(0.2, 0.5))
    monkeypatch.setattr(index, "WAIT", 0.1)
    with closing(sqlite3.connect(folder / ".clew/history.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(HistoryError, match="Another process holds it"), _opened(folder):
            pass


def test_a_history_that_was_cut_short_is_read_again_when_it_grew(folder: Path, tmp_path: Path) -> None:
    for number in range(4):
        commit(folder, f"Number {number}", experiment(number, 0.5))
    git(tmp_path, "clone", "-q", "--depth", "2", f"file://{folder}", "shallow")
    assert _titles(tmp_path / "shallow") == ["Number 2", "Number 3"]
    git(tmp_path / "shallow", "fetch", "-q", "--unshallow")
    assert _titles(tmp_path / "shallow") == [f"Number {number}" for number in range(4)]


def test_every_ref_counts_where_short_names_are_the_same(folder: Path) -> None:
    first = commit(folder, "First", experiment(0.1, 0.5))
    for number, baseline in enumerate(("ab" + "c" * 38, "cd" + "e" * 38)):
        git(folder, "switch", "-q", "--detach", first)
        exp = commit(folder, f"Experiment {number}", experiment(number, 0.7))
        git(folder, "update-ref", f"refs/exps/{baseline[:2]}/{baseline[2:]}/lr-test", exp)
    git(folder, "switch", "-q", "--detach", first)
    git(folder, "tag", "main", commit(folder, "Tagged", experiment(5, 0.7)))
    git(folder, "checkout", "-q", "refs/heads/main")
    with _opened(folder) as found:
        assert {*found.heads} == {"HEAD", "heads/main", "tags/main", "exps/abcccccc/lr-test", "exps/cdeeeeee/lr-test"}
        assert len(found.entries()) == 4


def test_git_is_told_to_ignore_it(folder: Path) -> None:
    (folder / ".gitignore").write_text("")
    commit(folder, "First", experiment(0.1, 0.5))
    assert _titles(folder) == ["First"]
    assert git(folder, "status", "--porcelain") == ""
