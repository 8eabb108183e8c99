"""`clew rows` and `clew diff-data` over what is damaged, replaced, hostile or read-only: plain words, no traceback."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from clew.cli.main import app
from clew.errors import ClewError, DataError, SetupError
from clew.lineage import arrow, row_files, row_order, row_tables, row_values, rowsets
from examples.rows_repository import Repository, row

CALM = row("the sea is calm and wide today", "no", 0)
LOUD = row("everything is too loud and too fast", "yes", 1)
ROWS = [CALM, LOUD]
ID = CALM["row_id"]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    made = Repository(tmp_path / "repository")
    monkeypatch.chdir(made.folder)
    monkeypatch.setenv("CLEW_CACHE", str(tmp_path / "cache"))
    made.run(ROWS)
    made.commit("Train")
    return made


def _run(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def _trace(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_run("rows", "trace", *arguments, "--json"))
    return found


def _conflict(repository: Repository) -> None:
    path = repository.folder / "dvc.lock"
    path.write_text(path.read_text().replace("  clean:", "<<<<<<< ours\n  clean:\n=======\n>>>>>>> theirs\n", 1))


def test_a_lock_with_conflict_markers_is_told_and_is_no_commit_without_the_row(repository: Repository) -> None:
    _conflict(repository)
    told = _trace(ID)
    assert (told["problems"][0][:20], len(told["rows"][0]["chapters"])) == ("work tree: dvc.lock:", 1)
    commit = repository.commit("Conflict")
    told = _trace(ID)
    assert [one.split(": dvc.lock: ")[0] for one in told["problems"]] == [commit[:7], "work tree"]
    assert told["rows"][0]["absent"] == 0
    assert "! cannot be read, so nothing is said of it: " in _run("rows", "trace", ID)
    with pytest.raises(ClewError, match="Not read: "):
        _run("rows", "trace", "0" * 64)


@pytest.mark.parametrize("text", ["{", "[1]", '[{"md5": "../../x", "relpath": "train.parquet"}]', '[{"relpath": "x"}]'])
def test_a_folder_whose_listing_is_none_is_told(repository: Repository, text: str) -> None:
    """Under its true md5, so that only what it says is wrong."""
    old = (repository.folder / "dvc.lock").read_text()
    md5s = repository.run(ROWS)
    false = repository._into_cache(text.encode(), ".dir")
    (repository.folder / "dvc.lock").write_text(old.replace(md5s["data/splits"], false))
    repository.commit("A false listing")
    assert any("listing of a folder cannot be read" in line for line in _trace(ID)["missing"])
    assert "listing of a folder cannot be read" in _run("diff-data", "HEAD~1", "HEAD")
    with pytest.raises(ClewError, match="listing of a folder cannot be read"):
        _run("rows", "of", "sft", "--side", "test")


def test_a_listing_that_was_replaced_is_not_believed(repository: Repository) -> None:
    md5s = repository.run(ROWS)
    other = repository.keep_folder({"train.parquet": repository.keep([LOUD])})
    shutil.copy(repository.cached(other), repository.cached(md5s["data/splits"]))
    told = _trace(ID)
    assert any("data/splits/: the cache holds another file than" in line for line in told["missing"])
    with pytest.raises(ClewError, match="the cache holds another file than"):
        _run("rows", "of", "sft", "--side", "test")


def test_a_file_that_was_replaced_is_neither_indexed_nor_quoted(repository: Repository) -> None:
    md5 = repository.run(ROWS)["data/train.parquet"]
    _trace(ID)
    other = repository.keep([CALM | {"weight": 77.0}])
    shutil.copy(repository.cached(other), repository.cached(md5))
    (chapter,) = _trace(ID)["rows"][0]["chapters"]
    assert (chapter["weight"], chapter["read"]) == (None, False)
    assert chapter["lost"] == [f"data/train.parquet: the cache holds another file than {md5}"]
    with pytest.raises(ClewError, match="the cache holds another file than"):
        _run("rows", "of", "sft")
    (repository.folder / ".clew/rows.sqlite").unlink()
    assert not _trace(ID)["rows"][0]["chapters"][0]["trained"]


@pytest.mark.parametrize("junk", [b"PAR1 junk", None])
def test_a_file_that_is_lost_after_it_was_indexed_is_told_as_lost(repository: Repository, junk: bytes | None) -> None:
    md5 = repository.run(ROWS)["data/ledger/clean.parquet"]
    _trace(ID)
    repository.cached(md5).unlink()
    if junk is not None:
        repository.cached(md5).write_bytes(junk)
    told = _run("rows", "trace", ID)
    why = "not in the cache" if junk is None else f"the cache holds another file than {md5}"
    assert f"scores and weight not read: data/ledger/clean.parquet: {why}" in told
    assert "large files" not in told


HOSTILE: list[dict[str, Any]] = [
    {"row_id": [[ID]]},
    {"row_id": [7]},
    {"row_id": [None]},
    {"row_id": [ID[:-2] + "  "]},
    {"row_id": pa.array([b"\xff" * 64])},
    {"row_id": [ID], "parent_ids": ["text"]},
    {"row_id": [ID], "parent_ids": [["no id"]]},
    {"row_id": [ID], "parent_ids": [[None]]},
    {"row_id": [ID], "decision": [None]},
    {"row_id": [ID], "decision": [["kept"]]},
    {"row_id": [ID], "decision": ["kept"], "rule": [{"a": 1}]},
    {"row_id": ["ab" * 32], "source": ["web"], "origin": ["text"]},
    {"row_id": ["ab" * 32], "source": ["web"], "origin": [{"page": 1}]},
    {"source": ["web"]},
]


@pytest.mark.parametrize("columns", HOSTILE)
def test_a_hostile_file_of_rows_is_one_that_cannot_be_read(repository: Repository, columns: dict[str, Any]) -> None:
    """It lies under its true md5, so that its schema is all that is wrong."""
    path = repository.folder / ".dvc/hostile.parquet"
    pq.write_table(pa.table(columns), path)
    md5 = repository._into_cache(path.read_bytes())
    old = repository.run(ROWS)["data/train.parquet"]
    lock = repository.folder / "dvc.lock"
    lock.write_text(lock.read_text().replace(old, md5))
    repository.commit("Hostile")
    assert any("data/train.parquet: " in line for line in _trace(ID)["missing"])
    told = _run("diff-data", "HEAD~1", "HEAD")
    assert "! not compared: " in told or "data/train.parquet: 2 rows → 1" in told
    for arguments in (["--count"], []):
        with suppress(DataError):  # those who do not read the column that is wrong may answer
            _run("rows", "of", "sft", *arguments)


def test_columns_that_are_missing_are_unknown_and_those_of_another_type_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"row_id": [ID], "decision": ["kept"]}), path)
    with rowsets.opened(tmp_path / "rows.sqlite") as sets:
        row_files.add(sets, "one", path)
        assert sets.holding([0]) == [{"one": [("kept", None)]}]
    for columns in ({"weight": ["heavy"]}, {"text": [b"\xff\xfe"]}, {"text": [[1]]}, {"score": ["high"]}):
        pq.write_table(pa.table({"row_id": [ID], **columns}), path)
        with pytest.raises(DataError, match="cannot be read as rows"):
            arrow.read(path, ("row_id", *columns))
    pq.write_table(pa.table({"row_id": [ID], "text": pa.array([b"\xff\xfe"])}), path)
    with pytest.raises(DataError, match="cannot be read as rows"):
        row_tables.texts(path, row_tables.np.zeros(1, dtype=row_tables.np.int64))


def test_a_file_is_large_by_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    for n, large in ((250_000, False), (250_001, True)):
        pq.write_table(pa.table({"row_id": pa.nulls(n, pa.string())}), path)
        assert row_files.is_large(path) is large


def _told(*arguments: str) -> list[tuple[bool, float | None, list[str]]]:
    (row,) = _trace(ID, *arguments)["rows"]
    assert row["text"] == CALM["text"]
    return [(one["read"], one["weight"], one["lost"]) for one in row["chapters"]]


def test_of_a_large_file_only_the_row_is_read(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.run(ROWS, weight={CALM["text"]: 0.5})
    repository.commit("Weigh")
    monkeypatch.setattr(row_files, "LARGE", 1)
    monkeypatch.delattr(row_files, "details")
    assert _told()[-1] == (True, 0.5, [])
    repository.run(ROWS, drop={CALM["text"]: ("length", 2.5)})
    repository.commit("Drop")
    assert _trace(ID, "--rev", "HEAD")["rows"][0]["text"] == CALM["text"]  # data/rows.parquet is all that has it
    assert "clean: dropped by length (score 2.5, " in _run("rows", "trace", ID)


def test_in_a_large_file_of_an_order_that_is_not_kept_a_row_is_looked_for_only_when_all_is_asked(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_order, "MOST", 0)
    repository.run([*ROWS[::-1]], weight={CALM["text"]: 0.5})
    repository.commit("Weigh, the other way round")
    monkeypatch.setattr(row_files, "LARGE", 1)
    assert _trace(ID)["rows"][0]["chapters"][-1]["weight"] is None
    assert "scores and weight not read (an older story, or a large file" in _run("rows", "trace", ID)
    assert _told("--all")[-1] == (True, 0.5, [])


def test_older_stories_are_read_until_that_takes_too_long(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    for weight in (0.5, 0.25):
        repository.run(ROWS, weight={CALM["text"]: weight})
        repository.commit("Weigh")
    read = row_files.details_at
    monkeypatch.setattr(row_files, "details_at", lambda *one: (read(*one)[0], 1))
    monkeypatch.setattr(row_values, "PATIENCE", 5)  # four ledgers and the training set
    assert [one[:2] for one in _told()[-2:]] == [(False, None), (True, 0.25)]
    assert [one[:2] for one in _told("--all")[-2:]] == [(True, 0.5), (True, 0.25)]


def test_a_large_file_that_was_cut_short_or_is_gone_is_told(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    md5 = repository.run(ROWS, weight={CALM["text"]: 0.5})["data/train.parquet"]
    repository.commit("Weigh")
    monkeypatch.setattr(row_files, "LARGE", 1)
    assert _told()[-1] == (True, 0.5, [])
    (path,) = (repository.folder / ".dvc/cache").rglob(md5[2:])
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-9])
    assert _told()[-1] == (False, None, [f"data/train.parquet: the cache holds another file than {md5}"])
    path.unlink()
    assert _told()[-1] == (False, None, ["data/train.parquet: not in the cache"])


def test_an_index_that_leads_to_another_row_is_made_anew(repository: Repository) -> None:
    expected = _trace(ID)
    database = sqlite3.connect(repository.folder / ".clew/rows.sqlite")
    with database:
        database.execute("UPDATE files SET pieces = x'0100000000000000'")
    database.close()
    assert _trace(ID) == expected


def test_where_the_index_cannot_be_kept_is_told(repository: Repository) -> None:
    (repository.folder / ".clew").write_text("a file where the folder would be")
    with pytest.raises(SetupError, match="the index of rows cannot be kept"):
        _run("rows", "trace", ID)
    assert ID in _run("rows", "of", "sft")
    assert "no difference" in _run("diff-data", "HEAD", "HEAD")


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE notes SET value = '{'",
        "UPDATE notes SET value = '[]'",
        "UPDATE buckets SET ordinals = x'00'",
        "UPDATE buckets SET ids = x'00'",
    ],
)
def test_an_index_whose_contents_are_broken_is_made_anew(repository: Repository, damage: str) -> None:
    expected = _trace(ID)
    database = sqlite3.connect(repository.folder / ".clew/rows.sqlite")
    with database:
        database.execute(damage)
    database.close()
    assert _trace(ID) == expected


def test_what_a_terminal_would_obey_does_not_reach_it(repository: Repository) -> None:
    bad = row("evil \x1b]0;pwn\x07 \u202e text \x9b2J", "y\x1b[31mes", 5)
    bad["origin"] = {"file": "po\x1b[31msts\tx\n.csv", "record": 5}
    repository.run([*ROWS, bad])
    repository.commit("Evil \x1b[31mred")
    repository.git("branch", "b\u202ex")
    obeyed = {"\x1b", "\x07", "\u202e", "\x9b"}
    for arguments in (
        ["rows", "trace", bad["row_id"]],
        ["rows", "trace", bad["row_id"], "--json"],
        ["rows", "of", "sft"],
    ):
        assert not obeyed & set(_run(*arguments))
    (line,) = (one for one in _run("rows", "of", "sft").splitlines() if one.startswith(bad["row_id"]))
    assert line.split("\t")[2] == "po\ufffd[31msts\\tx\\n.csv"
    with pytest.raises(ClewError) as error:
        _run("rows", "trace", "--text", "nothing \x1b[2J here")
    assert "\x1b" not in str(error.value)


def test_no_number_is_null_in_json(repository: Repository) -> None:
    repository.run(ROWS, drop={CALM["text"]: ("outlier", float("inf"))})
    assert _trace(ID)["rows"][0]["chapters"][-1]["decisions"][-1]["score"] is None
    repository.run(ROWS, weight={CALM["text"]: float("nan")})
    for _ in range(2):
        repository.commit("Not a number")
    told = _run("rows", "trace", ID, "--json")
    assert "NaN" not in told
    assert [one["commits"] for one in json.loads(told)["rows"][0]["chapters"]] == [1, 2]


def test_a_child_has_its_own_text_and_is_found_by_it(repository: Repository) -> None:
    child = row("everything is too loud and too slow", "yes", 1, parent_ids=[LOUD["row_id"]])
    repository.run(ROWS, add=[child])
    repository.commit("Counterfactuals")
    (told,) = _trace("--text", child["text"])["rows"]
    assert (told["row_id"], told["text"], told["task"], told["label"]) == (
        child["row_id"],
        child["text"],
        "stress",
        "yes",
    )
    assert told["parents"] == [LOUD["row_id"]]


def test_each_decision_about_a_row_that_stands_twice_keeps_its_place(repository: Repository) -> None:
    twin = CALM | {"origin": {"file": "other.csv", "record": 77}}
    repository.run([CALM, twin, LOUD])
    repository.commit("Twice")
    decisions = _trace(ID, "--rev", "HEAD")["rows"][0]["chapters"][0]["decisions"]
    places = [(one["file"], one["record"]) for one in decisions if one["stage"] == "clean"]
    assert places == [("posts.csv", 0), ("other.csv", 77)]
    assert "clean: kept  ← other.csv record 77" in _run("rows", "trace", ID)


def test_a_shallow_clone_says_so_in_every_answer_and_error(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.run([CALM])
    repository.commit("Fewer")
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{repository.folder}", str(shallow)], check=True)
    shutil.copytree(repository.folder / ".dvc", shallow / ".dvc")
    monkeypatch.chdir(shallow)
    for arguments in (["rows", "of", "sft"], ["rows", "trace", ID], ["diff-data", "HEAD", "work tree"]):
        assert "clone is shallow: older commits were not searched" in _run(*arguments)
    for arguments in (["rows", "of", "base"], ["rows", "trace", LOUD["row_id"]], ["rows", "trace", "--text", "gone"]):
        with pytest.raises(ClewError, match="clone is shallow: older commits were not searched"):
            _run(*arguments)
