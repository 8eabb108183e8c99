"""What can be asked for, and the plain words for what is not there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from trace_repository import NOTES, Repository, experiment, md5_of, run, sha256_of

from clew.errors import HistoryError
from clew.lineage.trace import Trace, trace
from examples.rows_repository import Repository as RowRepository
from examples.rows_repository import row


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    return experiment(tmp_path / "repo")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CLEW_CACHE", str(tmp_path / "cache"))


def ask(repo: Repository, thing: str, rev: str | None = None, **options: bool) -> Trace:
    return trace(repo.root, thing, rev, **options)


def refused(repo: Repository, thing: str, rev: str | None = None) -> str:
    with pytest.raises(HistoryError) as caught:
        ask(repo, thing, rev)
    return str(caught.value)


def paths(found: Trace) -> list[tuple[str, str, str]]:
    return sorted((root.artifact.path, root.member, root.stage) for root in found.thing.roots)


# --- paths -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("thing", "roots"),
    [
        ("models/aligned", [("models/aligned", "", "train")]),
        ("./models/aligned/", [("models/aligned", "", "train")]),
        ("models/aligned/w.bin", [("models/aligned", "w.bin", "train")]),
        ("data/raw/notes/a.csv", [("data/raw", "notes/a.csv", "fetch")]),
        ("data/raw/notes", [("data/raw", "notes", "fetch")]),
        ("models", [("models/aligned", "", "train"), ("models/base", "", "base")]),
        ("train", [("models/aligned", "", "train")]),
        ("src/train.py", [("src/train.py", "", "")]),
        ("src/lib", [("src/lib", "", "")]),
    ],
)
def test_a_path_is_found(repo: Repository, thing: str, roots: list[tuple[str, str, str]]) -> None:
    assert paths(ask(repo, thing)) == roots
    assert paths(ask(repo, thing, "HEAD")) == roots


def test_a_raw_file_leads_to_its_own_source_alone(repo: Repository) -> None:
    graph = ask(repo, "data/raw/notes/a.csv").upstream
    assert [node.name for node in graph.nodes.values() if node.kind == "origin"] == ["file://notes/*.csv"]


def test_a_path_is_meant_from_where_one_stands(repo: Repository) -> None:
    assert paths(trace(repo.root / "models", "aligned")) == [("models/aligned", "", "train")]
    assert paths(trace(repo.root / "models", "models/aligned")) == [("models/aligned", "", "train")]
    assert paths(trace(repo.root, str(repo.root / "models/aligned"))) == [("models/aligned", "", "train")]


def test_other_bytes_in_the_work_tree_are_told(repo: Repository) -> None:
    repo.write("models/aligned/w.bin", "edited by hand")
    assert ask(repo, "models/aligned").notes == [
        "what lies at models/aligned in work tree is not what train made: the thread is of that"
    ]
    assert ask(repo, "models/aligned", "HEAD").notes == []


def test_the_repository_itself_is_no_thing(repo: Repository) -> None:
    assert "that is the whole repository" in refused(repo, ".")


def test_before_the_first_commit_the_work_tree_can_be_traced(tmp_path: Path) -> None:
    repo = Repository(tmp_path / "new")
    repo.write("src/a.py", "a")
    repo.run("a", ["src/a.py"], {"data/a.bin": "a"})
    found = ask(repo, "data/a.bin")
    assert [node.name for node in found.upstream.nodes.values()] == ["data/a.bin", "a"]
    assert ask(repo, "data/a.bin", down=True).down.held.commits == []


def test_a_listing_that_is_not_what_its_name_says_is_passed_over(repo: Repository) -> None:
    place = repo.object(md5_of(repo.read("models/aligned")))
    for text in ("[", json.dumps([{"md5": "0" * 32, "relpath": "w.bin"}])):
        place.write_text(text)
        found = ask(repo, "models/aligned/w.bin")
        assert [root.member_md5 for root in found.thing.roots] == [""]
        assert f"{place} is not what its name says: it was passed over" in found.notes


def test_an_unknown_path_names_the_nearest(repo: Repository) -> None:
    assert "there is no models/alinged. Did you mean `models/aligned`" in refused(repo, "models/alinged")
    words = refused(repo, "models/aligned/v.bin")
    assert "models/aligned holds no such file. Did you mean `models/aligned/w.bin`" in words


def test_what_another_commit_made_is_named_with_its_revision(repo: Repository) -> None:
    repo.run("tiny", ["models/aligned"], {"models/tiny": {"w.bin": "t"}})
    commit = repo.commit("Compress")
    del repo.lock["tiny"]
    run(repo, rate=0.3)
    repo.commit("Without")
    assert f"It was last made in {commit[:10]} (Compress): add `--rev {commit[:10]}`." in refused(repo, "models/tiny")
    assert paths(ask(repo, "models/tiny", commit)) == [("models/tiny", "", "tiny")]


# --- numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["stress.f1@aligned", "aligned.stress.f1", "aligned.stress.f1.value"])
def test_a_metric_is_found_by_either_form(repo: Repository, name: str) -> None:
    found = ask(repo, f"metrics/quality.json:{name}")
    assert (found.thing.kind, found.thing.facts["value"], found.thing.facts["n"]) == ("metric", 0.7, 9)
    assert paths(found) == [("metrics/quality.json", "", "evaluate")]
    assert found.notes == []


def test_a_metric_that_is_absent_names_the_nearest(repo: Repository) -> None:
    assert "has no `stress.f2@aligned`. Did you mean `stress.f1@aligned`" in refused(
        repo, "metrics/quality.json:stress.f2@aligned"
    )
    assert "Did you mean `aligned.stress.f1" in refused(repo, "metrics/quality.json:aligned.stres.f1")
    assert "there is no metrics/qualty.json. Did you mean `metrics/quality.json`" in refused(
        repo, "metrics/qualty.json:x"
    )


def test_a_metric_without_a_value_has_its_reason(repo: Repository) -> None:
    text = json.dumps({"base": {"stress": {"f1": {"value": None, "reason": "no rows"}}}})
    repo.run("evaluate", ["data/predictions"], {"metrics/quality.json": text}, cached=False)
    assert ask(repo, "metrics/quality.json:stress.f1@base").thing.facts["reason"] == "no rows"


def test_a_number_that_was_edited_is_not_said_to_come_of_the_thread(repo: Repository) -> None:
    file = repo.root / "metrics/quality.json"
    file.write_text(file.read_text().replace("0.7", "0.9", 1))
    repo.commit("Improve the number")
    found = ask(repo, "metrics/quality.json:stress.f1@aligned", "HEAD")
    assert found.thing.facts["value"] == 0.9
    assert any("is another text than evaluate made" in note for note in found.notes)

    [note] = ask(repo, "metrics/quality.json", "HEAD").notes
    assert "what lies at metrics/quality.json in HEAD is not what evaluate made" in note


def test_metrics_that_cannot_be_read_are_told(repo: Repository) -> None:
    repo.write("metrics/quality.json", "<<<<<<< ours\n{}")
    assert "metrics/quality.json cannot be read" in refused(repo, "metrics/quality.json:stress.f1@aligned")


# --- digests -----------------------------------------------------------------------------------------------------


def test_an_md5_is_found_as_out_as_member_and_as_code(repo: Repository) -> None:
    model = repo.read("models/aligned")
    assert paths(ask(repo, md5_of(model))) == [("models/aligned", "", "train")]
    assert paths(ask(repo, md5_of(model).removesuffix(".dir"))) == [("models/aligned", "", "train")]
    assert paths(ask(repo, md5_of(model["w.bin"]).upper())) == [("models/aligned", "w.bin", "train")]
    assert paths(ask(repo, md5_of("print('train')\n"))) == [("src/train.py", "", "")]


def test_the_same_bytes_at_two_paths_are_both_told(repo: Repository) -> None:
    repo.run("pass", ["models/aligned"], {"models/passed": repo.read("models/aligned")})
    found = ask(repo, md5_of(repo.read("models/aligned")))
    assert paths(found) == [("models/aligned", "", "train"), ("models/passed", "", "pass")]
    assert "the same bytes lie at several paths: models/aligned, models/passed" in found.notes


def test_a_digest_of_another_branch_is_found_there(repo: Repository) -> None:
    old, commit = repo.read("models/aligned"), repo.git("rev-parse", "--short=10", "HEAD")
    run(repo, rate=0.2)
    repo.commit("Faster")
    found = ask(repo, md5_of(old))
    assert paths(found) == [("models/aligned", "", "train")]
    assert f"not in work tree, but in {commit}" in found.notes


def test_a_sha256_is_found_in_records_and_in_params(repo: Repository) -> None:
    old = repo.read("models/aligned")
    assert paths(ask(repo, sha256_of(old))) == [("models/aligned", "", "train")]
    assert paths(ask(repo, "ab" * 32)) == [("data/raw", "notes", "fetch")]
    run(repo, rate=0.2)
    repo.commit("Faster")
    found = ask(repo, f"sha256:{sha256_of(old)}")
    assert [root.artifact.md5 for root in found.thing.roots] == [md5_of(old)]


def test_a_sha256_of_a_file_in_the_cache_is_found_when_it_is_asked_for(repo: Repository) -> None:
    digest = sha256_of(repo.read("models/aligned")["w.bin"])
    assert "not in the cache's files themselves (--hash reads them all)" in refused(repo, digest)
    assert paths(ask(repo, digest, thorough=True)) == [("models/aligned", "w.bin", "train")]


def test_a_digest_that_is_nowhere_says_where_it_was_looked(repo: Repository) -> None:
    words = refused(repo, "0" * 32)
    assert "no such bytes in the history. Looked in: MD5s of every dvc.lock; listings of the folders" in words
    words = refused(repo, "0" * 64)
    assert "metrics/runtime/*.json of every commit; SHA-256s that params declare" in words


CALM, LOUD, QUIET = (row(text, "no", n) for n, text in enumerate(("the sea is calm", "it is too loud", "a quiet book")))
CHILD = row("it is too slow", "yes", 1, parent_ids=[LOUD["row_id"]])


@pytest.fixture
def rows(tmp_path: Path) -> RowRepository:
    """Two runs: LOUD is dropped by the second; CHILD is made for training; QUIET is in the test set."""
    made = RowRepository(tmp_path / "rows")
    made.run([CALM, LOUD, QUIET], side={QUIET["text"]: "test"}, add=[CHILD])
    made.commit("One")
    made.run([CALM, LOUD, QUIET], side={QUIET["text"]: "test"}, drop={LOUD["text"]: ("loud", 1.0)})
    made.commit("Two")
    return made


def test_a_row_is_traced_by_the_files_that_hold_it(rows: RowRepository) -> None:
    found = trace(rows.folder, CALM["row_id"])
    assert found.thing.kind == "row"
    assert paths(found) == [("data/splits", "train.parquet", "split"), ("data/train.parquet", "", "balance")]
    assert f"`clew rows trace {CALM['row_id']}` tells its life" in found.notes[0]
    assert "prepare" in [node.name for node in found.upstream.nodes.values()]
    down = trace(rows.folder, CALM["row_id"], down=True).down
    assert [commit.title for commit in down.held.commits] == ["One", "Two"]
    assert paths(trace(rows.folder, QUIET["row_id"])) == [("data/splits", "test.parquet", "split")]


def test_a_row_that_was_made_for_training_is_found_in_the_commit_that_has_it(rows: RowRepository) -> None:
    for down in (False, True):
        found = trace(rows.folder, CHILD["row_id"][:12], down=down)
        assert paths(found) == [("data/train.parquet", "", "balance")]
        assert found.thing.facts["row_id"] == CHILD["row_id"]
    assert [commit.title for commit in found.down.held.commits] == ["One"]
    assert "models/sft" in [node.name for node in found.down.graph.nodes.values()]


def test_a_row_without_its_files_is_not_said_to_be_unused(rows: RowRepository) -> None:
    command = [sys.executable, "-m", "clew", "trace", LOUD["row_id"], "--rev", "HEAD", "--down"]
    trace(rows.folder, LOUD["row_id"])
    for md5 in [file for file in (rows.folder / ".dvc/cache").rglob("*") if file.is_file() and file.suffix == ".dir"]:
        md5.unlink()
    done = subprocess.run(command, cwd=rows.folder, capture_output=True, text=True, check=True)
    assert "clew rows trace" in done.stdout
    assert "Nothing in the history" not in done.stdout


def test_an_id_that_no_row_has(rows: RowRepository) -> None:
    with pytest.raises(HistoryError, match=r"Looked in: .*the rows of all history"):
        trace(rows.folder, "ee" * 32)


def test_where_the_row_sets_cannot_be_kept_the_prepared_rows_are_asked(
    rows: RowRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("Read-only file system")

    monkeypatch.setattr("clew.lineage.archive.ask", full)
    assert paths(trace(rows.folder, LOUD["row_id"])) == [("data/rows.parquet", "", "prepare")]


def test_the_beginning_of_an_md5_is_enough_where_it_is_one(repo: Repository) -> None:
    model = repo.read("models/aligned")
    assert paths(ask(repo, md5_of(model)[:8])) == [("models/aligned", "", "train")]
    assert paths(ask(repo, md5_of(model["w.bin"])[:8].upper())) == [("models/aligned", "w.bin", "train")]
    assert paths(ask(repo, md5_of("print('train')\n")[:10])) == [("src/train.py", "", "")]
    assert "no such bytes in the history" in refused(repo, "0" * 8)
    text = (repo.root / "dvc.lock").read_text()
    other = md5_of(model)[:8] + "0" * 24
    repo.write("dvc.lock", text.replace(md5_of(repo.read("data/rows.bin")), other))
    assert "2 MD5s begin so" in refused(repo, md5_of(model)[:8])


# --- files that were handed over ---------------------------------------------------------------------------------


def test_a_file_that_was_handed_over_is_recognised(repo: Repository, tmp_path: Path) -> None:
    shutil.copy(repo.root / "models/aligned/w.bin", tmp_path / "given.bin")
    found = ask(repo, str(tmp_path / "given.bin"))
    assert (found.thing.kind, paths(found)) == ("file", [("models/aligned", "w.bin", "train")])
    assert found.thing.facts["sha256"] == sha256_of(repo.read("models/aligned")["w.bin"])


def test_a_folder_that_was_handed_over_is_recognised_and_an_altered_one_is_not(
    repo: Repository, tmp_path: Path
) -> None:
    given = tmp_path / "given"
    shutil.copytree(repo.root / "models/aligned", given)
    assert paths(ask(repo, str(given))) == [("models/aligned", "", "train")]
    (given / "w.bin").write_text("altered")
    words = refused(repo, str(given))
    assert "no such bytes in the history (md5 " in words
    assert "The likest is models/" in words
    assert "not so: w.bin" in words


def test_a_file_that_is_not_there(repo: Repository) -> None:
    assert refused(repo, "/nowhere/model.bin").startswith("/nowhere/model.bin: no such file.")


# --- repositories as they come -----------------------------------------------------------------------------------


def test_an_unknown_revision_names_the_nearest(repo: Repository) -> None:
    assert "no such revision. Did you mean `main`?" in refused(repo, "models/aligned", "mian")


def test_a_repository_without_commits(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path / "new")], check=True)
    for rev in (None, "main"):
        with pytest.raises(HistoryError, match="has no commits"):
            trace(tmp_path / "new", "models/aligned", rev)


def test_no_repository_at_all(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="not in a git repository"):
        trace(tmp_path, "models/aligned")


def test_a_commit_before_the_experiment(repo: Repository) -> None:
    words = refused(repo, "models/aligned", "HEAD~1")
    assert words.startswith("HEAD~1: there is no dvc.lock: nothing had been run, or it is older than the experiment.")


@pytest.mark.parametrize("text", ["<<<<<<< ours\n=======\n>>>>>>> theirs\n", "schema: '3.0'\nstages: {}\n", "]["])
def test_a_lock_that_cannot_be_read(repo: Repository, text: str) -> None:
    repo.write("dvc.lock", text)
    words = refused(repo, "models/aligned")
    assert words.startswith("work tree: its dvc.lock cannot be read: ")
    assert ("End the merge: take one side's dvc.lock" in words) == ("<<<" in text)
    assert paths(ask(repo, "models/aligned", "HEAD")) == [("models/aligned", "", "train")]


def test_a_digest_is_found_though_the_work_tree_is_amid_a_merge(repo: Repository) -> None:
    repo.write("dvc.lock", "<<<<<<< ours\n=======\n>>>>>>> theirs\n")
    assert paths(ask(repo, md5_of(repo.read("models/aligned")))) == [("models/aligned", "", "train")]


def test_a_merge_commit(repo: Repository) -> None:
    repo.git("checkout", "-q", "-b", "side")
    run(repo, rate=0.2)
    side = md5_of(repo.read("models/aligned"))
    repo.commit("Faster")
    repo.git("checkout", "-q", "main")
    repo.write("README.md", "x")
    repo.commit("Say more")
    repo.git("merge", "-q", "--no-ff", "-m", "Merge side", "side")
    assert [root.artifact.md5 for root in ask(repo, "models/aligned", "main").thing.roots] == [side]


def test_a_bare_clone_knows_the_thread_but_not_the_files(repo: Repository, tmp_path: Path) -> None:
    repo.git("clone", "-q", "--bare", ".", str(tmp_path / "bare"))
    found = trace(tmp_path / "bare", "models/aligned")
    assert {node.name for node in found.upstream.nodes.values()} >= {"data/raw", "models/base", "file://q.jsonl"}
    assert found.notes == ["there is no DVC cache here: folders are known by their hash, not by their files"]
    found = trace(tmp_path / "bare", "models/aligned/w.bin")
    assert "the cache lacks the listing of models/aligned, so it is not shown that it holds w.bin" in found.notes


def test_a_shallow_clone_says_that_code_may_be_older(repo: Repository, tmp_path: Path) -> None:
    repo.git("clone", "-q", "--depth", "1", f"file://{repo.root}", str(tmp_path / "shallow"))
    graph = trace(tmp_path / "shallow", "models/aligned").upstream
    code = next(node for node in graph.nodes.values() if node.name == "train").facts["code"]
    assert {entry["path"]: entry["at_edge"] for entry in code} == {"src/train.py": True, "src/lib": True}


def test_without_a_place_for_the_index_the_revision_alone_is_searched(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_repo: object) -> None:
        raise OSError("Read-only file system")

    monkeypatch.setattr("clew.history.index.open_index", full)
    assert "models/base" in [node.name for node in ask(repo, "models/aligned").upstream.nodes.values()]
    found = ask(repo, "models/base", down=True)
    assert found.down.held.commits == []
    assert [note for note in found.notes if "the history's index cannot be kept (Read-only file system)" in note]


def test_nothing_is_written_but_the_index(repo: Repository) -> None:
    def state() -> dict[str, bytes]:
        return {str(f): f.read_bytes() for f in repo.root.rglob("*") if f.is_file() and ".clew" not in f.parts}

    before = state()
    for thing in ("models/aligned", "0" * 31 + "1", "metrics/quality.json:stress.f1@base", "data/raw/notes/a.csv"):
        for down in (False, True):
            try:
                ask(repo, thing, down=down, thorough=True)
            except HistoryError:
                assert thing.startswith("0")
    assert state() == before
    assert NOTES


# --- what is no thing --------------------------------------------------------------------------------------------


def test_what_has_no_end_is_not_read(repo: Repository, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(repo.root / "models" / "pipe")
    for thing in ("/dev/zero", str(tmp_path / "pipe"), str(repo.root / "models" / "pipe"), "models/pipe"):
        assert "neither a file nor a folder" in refused(repo, thing)
    for thing in ("~", "/", str(tmp_path)):
        assert "that folder holds far more than one thing" in refused(repo, thing)
    assert "no such file" in refused(repo, "~nobody-of-this-name/x")


def test_a_long_name_is_not_echoed(repo: Repository) -> None:
    for thing in ("x" * 5000, "a/" * 2500, "metrics/quality.json:" + "y" * 5000):
        assert len(refused(repo, thing)) < 200
    assert "no such file" in refused(repo, "z" * 999) or "there is no" in refused(repo, "z" * 999)


def test_a_file_that_git_does_not_track_is_hashed_as_one_from_outside(repo: Repository) -> None:
    shutil.copy(repo.root / "models/aligned/w.bin", repo.root / "data" / "copy.bin")
    found = ask(repo, "data/copy.bin")
    assert (found.thing.kind, paths(found)) == ("file", [("models/aligned", "w.bin", "train")])
    repo.write("data/new.bin", "never seen")
    assert "no such bytes in the history (md5 " in refused(repo, "data/new.bin")


def test_other_bytes_of_the_same_size_are_told(repo: Repository) -> None:
    file = repo.root / "models/aligned/w.bin"
    file.write_text(file.read_text()[::-1])
    words = "what lies at models/aligned in work tree is not what train made: the thread is of that"
    assert ask(repo, "models/aligned").notes == [words]


def test_what_is_too_large_is_hashed_when_it_is_asked_for(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clew.lineage.provenance.AT_MOST", 4)
    words = "models/aligned in work tree has the right size, and is not hashed: --hash does"
    assert words in ask(repo, "models/aligned").notes
    assert ask(repo, "models/aligned", thorough=True).notes == []


@pytest.mark.parametrize("text", ["[", "{}", "[1]", '[{"md5": 1, "relpath": "a"}]', "null", '[{"relpath": "x"}]'])
def test_a_listing_that_is_none_is_plain_words(repo: Repository, text: str) -> None:
    """Its name is right, so it was written as it is."""
    old, new = md5_of(repo.read("models/aligned")), md5_of(text) + ".dir"
    repo.object(new).write_text(text)
    repo.write("dvc.lock", (repo.root / "dvc.lock").read_text().replace(old, new))
    for down in (False, True):
        assert isinstance(ask(repo, "models/aligned/w.bin", down=down).notes, list)
    if text != "{}":
        assert [note for note in ask(repo, "models/aligned/w.bin").notes if "is no listing of a folder" in note]
