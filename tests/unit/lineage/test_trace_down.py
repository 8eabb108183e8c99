"""Downstream: all that used a thing, in every commit of every branch, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from trace_repository import NOTES, Repository, experiment, md5_of, run

from clew.lineage.downstream import Down
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
