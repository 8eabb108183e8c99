"""Downstream: all that used a thing, in every commit of every branch, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from trace_repository import NOTES, PIPELINE, Repository, experiment, md5_of, run

from clew.errors import HistoryError
from clew.lineage.downstream import Down
from clew.lineage.revision import is_declared
from clew.lineage.trace import trace

MORE = NOTES | {"notes/c.csv": "text\ngreen\n"}


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    """main: the first run. slow: another rate. more: one more raw file, tagged v2. The work tree is on main."""
    repo = experiment(tmp_path / "repo")
    for branch, options in (("slow", {"rate": 0.01}), ("more", {"raw": MORE})):
        repo.git("checkout", "-q", "-b", branch, "main")
        run(repo, **options)
        repo.commit(f"Run it {branch}")
    repo.git("tag", "v2")
    repo.git("checkout", "-q", "main")
    run(repo)
    repo.git("checkout", "-q", "dvc.lock", "metrics")
    return repo


def down(repo: Repository, thing: str, rev: str | None = None) -> Down:
    found = trace(repo.root, thing, rev, down=True).down
    assert found is not None
    return found


def models(found: Down) -> dict[str, list[str]]:
    """MD5 → heads of every version of models/aligned that was reached."""
    nodes = found.graph.nodes.values()
    return {node.facts["md5"]: node.facts["heads"] for node in nodes if node.name == "models/aligned"}


def titles(found: Down) -> list[str]:
    return [commit.title for commit in found.held.commits]


def test_a_raw_file_is_in_the_models_of_every_branch_that_had_it(repo: Repository) -> None:
    found = down(repo, "data/raw/notes/a.csv")
    assert sorted(titles(found)) == ["Run it all", "Run it more", "Run it slow"]
    assert sorted(map(sorted, models(found).values())) == [["main", "more", "slow", "v2"], ["more", "v2"], ["slow"]]


def test_a_raw_file_that_one_branch_has_is_in_its_model_alone(repo: Repository) -> None:
    found = down(repo, "data/raw/notes/c.csv", "more")
    assert titles(found) == ["Run it more"]
    assert list(models(found).values()) == [["more", "v2"]]
    assert found.held.heads == ["more", "v2"]


def test_what_used_a_version_of_a_folder_did_not_use_another(repo: Repository) -> None:
    found = down(repo, "data/raw", "slow")
    assert sorted(titles(found)) == ["Run it all", "Run it slow"]
    names = {node.name for node in found.graph.nodes.values() if node.kind == "run"}
    assert names == {"prepare", "train", "predict@aligned", "evaluate"}


def test_predictions_reach_the_metrics_through_their_folder(repo: Repository) -> None:
    found = down(repo, "data/predictions/aligned.bin", "slow")
    assert [(edge.how, edge.via) for edge in found.graph.after(found.graph.roots[0])] == [
        ("folder", "data/predictions")
    ]
    assert titles(found) == ["Run it slow"]


def test_a_code_file_is_in_what_ran_it(repo: Repository) -> None:
    assert len(models(down(repo, "src/train.py"))) == 3
    inner = down(repo, "src/lib/a.py")
    assert {inner.graph.nodes[e.end].name for e in inner.graph.after(inner.graph.roots[0])} == {"prepare", "train"}
    assert models(down(repo, "metrics/quality.json")) == {}


def test_changed_code_is_in_nothing_yet(repo: Repository) -> None:
    repo.write("src/lib/a.py", "a = 2\n")
    assert [node.kind for node in down(repo, "src/lib/a.py").graph.nodes.values()] == ["source"]


def test_what_is_not_committed_counts(repo: Repository) -> None:
    run(repo, rate=0.5)
    found = down(repo, "data/raw")
    assert found.held.uncommitted
    new = md5_of(repo.read("models/aligned"))
    node = found.graph.nodes[f"models/aligned@{new}"]
    assert (node.facts["commits"], node.facts["uncommitted"]) == (0, True)


def test_a_missing_listing_is_told(repo: Repository) -> None:
    repo.object(md5_of(MORE)).unlink()
    found = down(repo, "data/raw/notes/a.csv")
    assert sorted(titles(found)) == ["Run it all", "Run it slow"]
    assert found.notes == [
        "the cache lacks the listings of 1 of 2 versions of data/raw: whether they hold notes/a.csv is not known"
    ]


def test_a_base_model_by_its_md5(repo: Repository) -> None:
    found = down(repo, md5_of(repo.read("models/base")))
    assert len(models(found)) == 3
    assert len(found.held.commits) == 3


def test_commits_without_a_run_of_their_own_are_counted_too(repo: Repository) -> None:
    repo.write("README.md", "x")
    repo.commit("Say more")
    assert "Say more" in titles(down(repo, "models/base"))


def without(stage: str) -> str:
    """The pipeline without a stage."""
    return PIPELINE.replace(f"  {stage}:\n    cmd: run {stage}\n", "")


def test_an_entry_that_dvc_yaml_no_longer_has_is_not_counted(repo: Repository) -> None:
    """The raw file is withdrawn and the model trained anew; dvc.lock keeps the old entry of `prepare`."""
    repo.write("dvc.yaml", without("prepare"))
    repo.run("train", ["models/base"], {"models/aligned": {"w.bin": "without it"}})
    repo.run("evaluate", ["models/aligned"], {"metrics/quality.json": "{}"}, cached=False)
    repo.run("predict@aligned", ["models/aligned"], {"data/predictions/aligned.bin": "new"})
    repo.commit("Withdraw it")
    found = trace(repo.root, "data/raw/notes/a.csv", down=True)
    assert "Withdraw it" not in titles(found.down)
    assert [note for note in found.notes if note.startswith("not counted: 1 more commit whose dvc.lock keeps")]


@pytest.mark.parametrize("text", ["stages: [\n", "vars: [a]\n"])
def test_a_pipeline_that_does_not_tell_its_stages_is_said(repo: Repository, text: str) -> None:
    repo.write("dvc.yaml", text)
    repo.commit("Break it")
    found = trace(repo.root, "data/raw/notes/a.csv", down=True)
    assert "Break it" in titles(found.down)
    assert [note for note in found.notes if note.startswith("1 of the commits are counted by dvc.lock alone")]


@pytest.mark.parametrize(
    ("pipeline", "params", "stage", "expected"),
    [
        (PIPELINE, "predict:\n  variants: [base]\n", "predict@base", True),
        (PIPELINE, "predict:\n  variants: [base]\n", "predict@sft", False),
        (PIPELINE, "predict:\n  variants:\n    sft: {a: 1}\n", "predict@sft", True),
        (PIPELINE, "predict:\n  variants:\n    sft: {a: 1}\n", "predict@base", False),
        (PIPELINE, "]", "predict@base", None),
        ("stages: {train: {cmd: x}}\n", "", "train", True),
        ("stages: {train: {cmd: x}}\n", "", "prepare", False),
        ("stages:\n    train:\n        cmd: x\n", "", "train", True),
        ("stages:\n  a:\n    foreach: [x, y]\n    do: {cmd: z}\n", "", "a@y", True),
        ("stages:\n  a:\n    foreach: [x, y]\n    do: {cmd: z}\n", "", "a@z", False),
        ("", "", "train", None),
    ],
)
def test_which_stages_dvc_yaml_has(pipeline: str, params: str, stage: str, expected: bool | None) -> None:
    assert is_declared(pipeline, params, stage) is expected


def test_code_of_a_folder_is_found_however_often_it_was_changed_before(repo: Repository) -> None:
    """The run's dvc.lock is committed long before the code that it read: no commit that has both is needed."""
    lock = (repo.root / "dvc.lock").read_text()
    repo.write("src/lib/c.py", "c = 1\n")
    run(repo)
    made, code = (repo.root / "dvc.lock").read_text(), repo.read("src/lib/c.py")
    (repo.root / "src/lib/c.py").unlink()
    for number in range(4):
        repo.write("README.md", f"{number}")
        repo.write("dvc.lock", made)
        repo.commit(f"Run {number}, without the code")
    repo.write("dvc.lock", lock)
    repo.write("src/lib/c.py", code)
    repo.commit("Commit the code late")
    found = down(repo, "src/lib/c.py")
    assert [title for title in titles(found) if title.startswith("Run 0")]
    assert {found.graph.nodes[e.end].name for e in found.graph.after(found.graph.roots[0])} == {"prepare", "train"}


def test_code_that_no_commit_has_is_told(repo: Repository) -> None:
    repo.write("src/lib/c.py", "c = 1\n")
    run(repo)
    (repo.root / "src/lib/c.py").unlink()
    repo.commit("Run it, without the code")
    found = trace(repo.root, "src/lib/a.py", down=True)
    assert [note for note in found.notes if note.startswith("1 version of src/lib that runs read are neither in git")]


def test_a_shallow_clone_says_that_it_does_not_know_all(repo: Repository, tmp_path: Path) -> None:
    repo.git("clone", "-q", "--depth", "1", f"file://{repo.root}", str(tmp_path / "shallow"))
    found = trace(tmp_path / "shallow", "data/raw", down=True)
    assert [note for note in found.notes if note.startswith("this clone is shallow: `git fetch --unshallow`")]
    with pytest.raises(HistoryError, match="this clone is shallow"):
        trace(tmp_path / "shallow", "0" * 32)
    with pytest.raises(HistoryError, match="this clone is shallow"):
        trace(tmp_path / "shallow", "models/none")


def test_a_branch_that_was_deleted_is_history_no_more(repo: Repository) -> None:
    """The index keeps its commits; git does not."""
    repo.git("checkout", "-q", "-B", "gone", "slow")
    run(repo, rate=0.7)
    repo.commit("Run it in vain")
    new = md5_of(repo.read("models/aligned"))
    repo.git("checkout", "-q", "main")
    assert [node for node in down(repo, new).graph.nodes.values() if node.name == "models/aligned"]
    repo.git("branch", "-qD", "gone")
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.git("gc", "-q", "--prune=now")
    for walk in (True, False):
        with pytest.raises(HistoryError, match="no such bytes in the history"):
            trace(repo.root, new, down=walk)
    assert titles(down(repo, "data/raw"))
