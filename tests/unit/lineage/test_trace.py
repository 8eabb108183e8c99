"""Upstream: by path and hash, never by stale entries; where the thread is broken, it is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trace_repository import NOTES, PIPELINE, Repository, experiment, md5_of, run

from clew.lineage.graph import Graph
from clew.lineage.trace import Trace, trace


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    return experiment(tmp_path / "repo")


def up(repo: Repository, thing: str, rev: str | None = None) -> Graph:
    found = trace(repo.root, thing, rev).upstream
    assert found is not None
    return found


def names(graph: Graph, *kinds: str) -> list[str]:
    return sorted(node.name for node in graph.nodes.values() if node.kind in kinds)


def run_facts(graph: Graph, stage: str) -> dict:
    return next(node.facts for node in graph.nodes.values() if node.kind == "run" and node.name == stage)


def test_a_model_is_followed_to_raw_files_base_model_and_where_they_were_fetched(repo: Repository) -> None:
    graph = up(repo, "models/aligned")
    assert names(graph, "artifact") == ["data/raw", "data/rows.bin", "models/aligned", "models/base"]
    assert names(graph, "run") == ["base", "fetch", "prepare", "train"]
    assert names(graph, "origin") == ["file://notes/*.csv", "file://q.jsonl"]
    assert names(graph, "broken", "source") == []
    assert run_facts(graph, "train")["params"] == {"seed": 13, "train.rate": 0.1}


def test_a_folder_that_several_stages_fill_leads_to_each_of_them(repo: Repository) -> None:
    found = trace(repo.root, "metrics/quality.json")
    graph = found.upstream
    inputs = {(graph.nodes[e.start].name, e.how, e.via) for e in graph.edges if e.end.startswith("evaluate#")}
    assert inputs == {
        ("data/predictions/base.bin", "folder", "data/predictions"),
        ("data/predictions/aligned.bin", "folder", "data/predictions"),
        ("models/base", "folder", "models"),
        ("models/aligned", "folder", "models"),
    }
    assert found.notes == []


def test_a_renamed_stage_is_not_followed(repo: Repository) -> None:
    """dvc.lock keeps the entry of the old name, with the same path and other bytes."""
    repo.lock["old_train"] = repo.lock.pop("train")
    repo.run("train", ["data/rows.bin", "models/base"], {"models/aligned": {"w.bin": "new"}})
    graph = up(repo, "models/aligned")
    assert graph.roots == [f"models/aligned@{md5_of({'w.bin': 'new'})}"]
    assert "old_train" not in names(graph, "run")


def test_a_renamed_stage_that_made_the_same_bytes_is_not_followed_either(repo: Repository) -> None:
    rows = repo.read("data/rows.bin")
    repo.lock = {"old_prepare": repo.lock.pop("prepare"), **repo.lock}
    repo.run("prepare", ["src/prepare.py"], {"data/rows.bin": rows})
    for thing in ("models/aligned", "data/rows.bin", md5_of(rows)):
        found = trace(repo.root, thing)
        assert "prepare" in names(found.upstream, "run")
        assert "old_prepare" not in names(found.upstream, "run")
        assert found.notes == []


def test_what_only_a_stale_entry_made_is_told_as_such(repo: Repository) -> None:
    repo.write("dvc.yaml", PIPELINE.replace("  prepare:\n    cmd: run prepare\n", ""))
    found = trace(repo.root, "models/aligned")
    assert "prepare" in names(found.upstream, "run")
    assert found.notes == ["train read data/rows.bin: made by prepare, no longer declared in dvc.yaml"]


def test_what_a_switched_off_stage_left_in_the_lock_is_not_an_input(repo: Repository) -> None:
    (repo.root / "data/predictions/base.bin").unlink()
    repo.run("evaluate", ["data/predictions"], {"metrics/quality.json": "{}"}, cached=False)
    graph = up(repo, "metrics/quality.json")
    assert names(graph, "artifact") == [
        *("data/predictions/aligned.bin", "data/raw", "data/rows.bin", "metrics/quality.json", "models/aligned"),
        "models/base",
    ]
    assert "predict@base" in repo.lock
    assert "predict@base" not in names(graph, "run")


def test_the_entry_of_a_switched_off_stage_is_told_as_such(repo: Repository) -> None:
    repo.write("params.yaml", "predict:\n  variants: [aligned]\n")
    assert trace(repo.root, "data/predictions/base.bin").notes == [
        "dvc.yaml of work tree no longer has the stage predict@base: dvc.lock keeps the entry of its last run"
    ]
    assert trace(repo.root, "data/predictions/aligned.bin").notes == []


def test_a_run_that_was_stopped_half_way_is_linked_to_what_it_really_used(repo: Repository) -> None:
    """rows.bin was made anew, the model not yet: it comes of the rows of the commit before."""
    before = repo.git("rev-parse", "--short=10", "HEAD")
    old = md5_of(repo.read("data/rows.bin"))
    repo.run("prepare", ["data/raw"], {"data/rows.bin": "other rows"})
    found = trace(repo.root, "models/aligned")
    rows = [node for node in found.upstream.nodes.values() if node.name == "data/rows.bin"]
    assert [node.facts["md5"] for node in rows] == [old]
    assert found.notes == [f"train read data/rows.bin: made in {before}, not in work tree"]


def test_a_folder_that_changed_since_is_linked_to_what_lay_in_it(repo: Repository) -> None:
    before = repo.git("rev-parse", "--short=10", "HEAD")
    old = md5_of(repo.read("data/predictions/base.bin"))
    repo.run("predict@base", ["models/base"], {"data/predictions/base.bin": "others"})
    repo.commit("Predict again, and evaluate nothing")
    found = trace(repo.root, "metrics/quality.json")
    assert f"data/predictions/base.bin@{old}" in found.upstream.nodes
    assert f"evaluate read data/predictions: as evaluate found them in {before}, where it ran" in found.notes


def test_a_broken_thread_is_told_with_what_was_expected(repo: Repository) -> None:
    repo.run("prepare", ["data/raw"], {"data/rows.bin": "rows that were never committed"})
    gone = md5_of("rows that were never committed")
    repo.run("train", ["data/rows.bin"], {"models/aligned": {"w.bin": "of those"}})
    repo.run("prepare", ["data/raw"], {"data/rows.bin": "yet other rows"})
    found = trace(repo.root, "models/aligned")
    assert names(found.upstream, "broken") == ["data/rows.bin"]
    assert names(found.upstream, "run") == ["train"]
    [note] = found.notes
    now = md5_of("yet other rows")
    assert note.startswith("the thread of train is broken at data/rows.bin: data/rows.bin was " + gone[:8])
    assert now[:8] in note


def test_a_missing_listing_degrades_to_the_path_and_says_so(repo: Repository) -> None:
    repo.object(md5_of(repo.read("models/base"))).unlink()
    found = trace(repo.root, "metrics/quality.json")
    by_path = {found.upstream.nodes[e.start].name for e in found.upstream.edges if e.how == "assumed"}
    assert by_path == {"models/base", "models/aligned"}
    assert found.notes == [
        "evaluate read models: by path: the cache lacks the folders' listings, but bytes and number of files agree"
    ]


def test_data_that_git_keeps_is_a_source(repo: Repository) -> None:
    repo.write("tables/groups.csv", "he,she\n")
    repo.run("join", ["tables/groups.csv", "data/rows.bin"], {"data/joined.bin": "j"})
    repo.commit("Join")
    graph = up(repo, "data/joined.bin")
    [node] = [node for node in graph.nodes.values() if node.kind == "source"]
    assert (node.name, node.facts["in_git"]) == ("tables/groups.csv", "these bytes")


def test_a_file_of_a_folder_that_another_stage_made(repo: Repository) -> None:
    repo.run("count", ["data/raw/notes/a.csv"], {"data/count.bin": "1"})
    graph = up(repo, "data/count.bin")
    assert [(graph.nodes[e.start].name, e.how) for e in graph.edges if e.end.startswith("count#")] == [
        ("data/raw", "member")
    ]


# --- code, params, machine ---------------------------------------------------------------------------------------


def code_of(found: Trace, stage: str) -> dict[str, dict]:
    return {entry["path"]: entry for entry in run_facts(found.upstream, stage)["code"]}


def test_code_has_the_commit_and_author_that_last_changed_it(repo: Repository) -> None:
    code = code_of(trace(repo.root, "models/aligned"), "train")
    assert sorted(code) == ["src/lib", "src/train.py"]
    assert (code["src/train.py"]["author"], code["src/train.py"]["title"]) == ("Bob", "Train slowly")
    assert (code["src/lib"]["author"], code["src/lib"]["title"]) == ("Ada", "Write the pipeline")
    assert {entry["state"] for entry in code.values()} == {"as run"}


def test_code_is_that_of_the_run_and_not_what_lies_there_now(repo: Repository) -> None:
    repo.write("src/train.py", "print('train faster')\n")
    repo.write("src/lib/b.py", "b = 3\n")
    repo.commit("Train faster", author="Eve")
    code = code_of(trace(repo.root, "models/aligned", "HEAD"), "train")
    assert {path: (entry["state"], entry["title"]) for path, entry in code.items()} == {
        "src/train.py": ("changed since", "Train slowly"),
        "src/lib": ("changed since", "Write the pipeline"),
    }


def test_code_that_was_not_committed_is_told(repo: Repository) -> None:
    repo.write("src/train.py", "print('an experiment')\n")
    repo.run("train", ["src/train.py"], {"models/aligned": {"w.bin": "x"}})
    assert code_of(trace(repo.root, "models/aligned"), "train")["src/train.py"]["state"] == "not committed"
    repo.git("checkout", "-q", "src/train.py")
    assert code_of(trace(repo.root, "models/aligned"), "train")["src/train.py"]["state"] == "not in history"


def test_a_merge_is_not_blamed_for_what_a_branch_wrote(repo: Repository) -> None:
    repo.git("checkout", "-q", "-b", "side")
    repo.write("src/train.py", "print('side')\n")
    repo.commit("Write it on a side", author="Eve")
    repo.git("checkout", "-q", "main")
    repo.write("README.md", "words\n")
    repo.commit("Say more")
    repo.git("merge", "-q", "--no-ff", "-m", "Merge side", "side")
    run(repo)
    repo.commit("Run it again")
    code = code_of(trace(repo.root, "models/aligned", "main"), "train")
    assert (code["src/train.py"]["author"], code["src/train.py"]["title"]) == ("Eve", "Write it on a side")


def test_a_record_is_believed_where_it_names_what_was_made(repo: Repository) -> None:
    record = run_facts(up(repo, "models/aligned"), "train")["record"]
    assert record["hardware"]["cpu"] == "cpu of train"
    assert record["believed"] == "it names the SHA-256 of 1 of 1 outs, which are these"


def test_a_record_of_another_run_is_not_believed(repo: Repository) -> None:
    repo.record("train", {"models/aligned": "00" * 32})
    record = run_facts(up(repo, "models/aligned"), "train")["record"]
    assert list(record) == ["missing"]
    assert "is not of this run: it names other bytes of models/aligned" in record["missing"]


def test_a_record_without_its_files_is_believed_only_with_its_commit(repo: Repository) -> None:
    parent = repo.git("rev-parse", "HEAD")
    repo.run("train", ["data/rows.bin"], {"models/aligned": {"w.bin": "unseen"}}, cached=False)
    repo.record("train", {"models/aligned": "11" * 32}, commit=parent)
    assert "committed together" in run_facts(up(repo, "models/aligned"), "train")["record"].get("believed", "")
    repo.commit("Train")
    assert "committed together" in run_facts(up(repo, "models/aligned", "HEAD"), "train")["record"].get("believed", "")
    repo.record("train", {"models/aligned": "11" * 32}, commit="0" * 40)
    repo.commit("Another record")
    assert "is not believed" in run_facts(up(repo, "models/aligned", "HEAD"), "train")["record"].get("missing", "")


@pytest.mark.parametrize("text", ["{", "[]", '{"outs": 3}', "null"])
def test_a_record_that_cannot_be_read_is_told(repo: Repository, text: str) -> None:
    repo.write("metrics/runtime/train.json", text)
    assert "cannot be read" in run_facts(up(repo, "models/aligned"), "train")["record"]["missing"]


# --- any history -------------------------------------------------------------------------------------------------

DEPS = {"s0": [], "s1": ["data/d0/x"], "s2": ["data/d0/x", "data/d1/x"], "s3": ["data/d1/x", "data/d2/x"]}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_the_thread_is_what_really_happened(tmp_path_factory: pytest.TempPathFactory, edits: list[int]) -> None:
    """Stages run again in any order, stale ones included. Each out's text holds the texts of all that it came of."""
    repo = Repository(tmp_path_factory.mktemp("any") / "repo")
    texts: dict[str, str] = {}
    for number, stage in enumerate([0, 1, 2, 3, *edits]):
        name, path = f"s{stage}", f"data/d{stage}/x"
        texts[path] = json.dumps([name, number, [texts[dep] for dep in DEPS[name]]])
        repo.run(name, DEPS[name], {path: texts[path]})
        repo.commit(f"Run {name}")

    def ancestors(text: str) -> set[str]:
        return {md5_of(text)}.union(*(ancestors(inner) for inner in json.loads(text)[2]))

    found = trace(repo.root, "data/d3/x")
    assert {n.facts["md5"] for n in found.upstream.nodes.values() if n.kind == "artifact"} == ancestors(
        texts["data/d3/x"]
    )
    assert names(found.upstream, "broken") == []
    touched = trace(repo.root, "data/d0/x", down=True).down.graph
    first = md5_of(texts["data/d0/x"])
    assert (f"data/d3/x@{md5_of(texts['data/d3/x'])}" in touched.nodes) == (first in ancestors(texts["data/d3/x"]))


def test_other_raw_files_leave_no_trace_in_the_first_model(repo: Repository) -> None:
    first = repo.git("rev-parse", "HEAD")
    run(repo, raw=NOTES | {"notes/c.csv": "text\ngreen\n"})
    repo.commit("More notes")
    assert up(repo, "data/raw", first).roots != up(repo, "data/raw").roots
    graph = up(repo, "models/aligned", first)
    assert f"data/raw@{md5_of(NOTES)}" in graph.nodes
    assert len(names(graph, "artifact")) == 4
