"""Which revisions are compared, and histories that are odd: each has its plain words, and shows what it can."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from compare_lab import Lab, N, number

from clew.cli.main import app
from clew.errors import HistoryError
from clew.history import repository
from clew.history.compare import revisions
from clew.history.compare import view as views
from examples.history import commit, git


def names(lab: Lab, *revisions: str) -> list[str]:
    view = lab.compare(*revisions, tests=False)
    return [view.before.name, *(side.after.name for side in view.sides)]


def test_no_name_means_the_work_tree_with_its_fork_from_main(lab: Lab) -> None:
    fork = lab.git("rev-parse", "HEAD")
    lab.git("checkout", "-q", "-b", "mine")
    lab.commit("Mine", rate=0.01)
    lab.git("checkout", "-q", "main")
    lab.commit("Main goes on", rate=0.5)
    lab.git("checkout", "-q", "mine")
    assert names(lab) == [f"main at {fork[:7]}", "work tree"]
    assert [p.name for p in lab.side(tests=False).params] == ["sft.learning_rate"]


def test_on_main_itself_no_name_means_the_last_commit(lab: Lab) -> None:
    lab.write(rate=0.7)
    assert names(lab) == ["HEAD", "work tree"]
    assert lab.side(tests=False).params[0].after == 0.7


def test_a_clone_without_a_main_of_its_own_takes_that_of_origin(lab: Lab, tmp_path: Path) -> None:
    lab.git("branch", "-m", "trunk")
    git(tmp_path, "clone", "-q", str(lab.root), "clone")
    clone = tmp_path / "clone"
    git(clone, "checkout", "-q", "-b", "mine")
    git(clone, "branch", "-D", "trunk")
    commit(clone, "Mine", {"params.yaml": "seed: 5\n"})
    view = views.compare(repository.open_repository(clone), [], tests=False)
    assert view.before.name.startswith("origin/trunk at ")
    assert "seed" in {param.name for param in view.sides[0].params}


def test_one_name_means_that_and_the_work_tree_and_a_dot_is_the_work_tree(lab: Lab) -> None:
    assert names(lab, "main") == ["main", "work tree"]
    assert names(lab, ".", "main") == ["work tree", "main"]


def test_the_same_revision_twice_differs_in_nothing(lab: Lab) -> None:
    side = lab.side("main", "HEAD")
    assert side.notes == ("the same commit as main",)
    assert (side.params, side.code, side.reaches, side.others) == ((), (), (), ())
    assert {n.verdict for n in side.numbers if n.before.get("value") is not None} == {"no difference shown"}


def test_an_unknown_revision_is_told_with_the_nearest(lab: Lab) -> None:
    lab.git("branch", "lora-16")
    with pytest.raises(HistoryError, match=r"no such revision\. Did you mean `lora-16`"):
        lab.compare("main", "lora-61")


def test_a_repository_without_commits_says_so(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    with pytest.raises(HistoryError, match="the repository has no commits"):
        views.compare(repository.open_repository(tmp_path), [])


def test_a_bare_clone_compares_what_git_has(lab: Lab, tmp_path: Path) -> None:
    lab.git("checkout", "-q", "-b", "other")
    lab.commit("Other", wrong=[], rate=0.01)
    git(tmp_path, "clone", "-q", "--bare", str(lab.root), "bare")
    repo = repository.open_repository(tmp_path / "bare")
    (side,) = views.compare(repo, ["main", "other"]).sides
    found = number(side, "stress.accuracy")
    assert (found.before["value"], found.after["value"], found.verdict) == (0.75, 1.0, None)
    assert "not in DVC's cache here" in found.reason
    assert side.reaches[0].roots == ("sft.learning_rate",)
    with pytest.raises(HistoryError, match="a bare repository has no work tree"):
        views.compare(repo, [])


def test_a_commit_before_the_experiment_shows_what_it_can(lab: Lab) -> None:
    lab.git("checkout", "-q", "--orphan", "old")
    lab.git("rm", "-rqf", ".")
    commit(lab.root, "Begin", {"README.md": "soon\n"})
    side = lab.side("old", "main")
    assert {p.name for p in side.params} >= {"seed", "sft.learning_rate"}
    found = number(side, "stress.f1")
    assert (found.before, found.reason) == ({}, "not measured before")
    assert "it has no common commit with old: which commits changed it is not known" in side.notes
    assert any("older than the experiment" in note for note in lab.compare("old", "main").notes)


def test_two_commits_before_the_experiment_are_an_error(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    commit(tmp_path, "Begin", {"README.md": "soon\n"})
    commit(tmp_path, "Go on", {"README.md": "very soon\n"})
    with pytest.raises(HistoryError, match="nothing of an experiment"):
        views.compare(repository.open_repository(tmp_path), ["HEAD~1", "HEAD"])


def test_an_older_schema_of_params_is_compared_as_it_stands(lab: Lab) -> None:
    lab.git("checkout", "-q", "-b", "old")
    files = lab.files()
    commit(lab.root, "Old schema", {**files, "params.yaml": "train:\n  rate: 1\npredict: [base]\nevaluate: off\n"})
    side = lab.side("old", "main")
    assert {p.name: p.on for p in side.params}["train.rate"] == "before"
    assert {n.verdict for n in side.numbers if n.name == "stress.f1"} == {"no difference shown"}


def test_conflict_markers_in_the_lock_are_told_and_the_rest_is_shown(lab: Lab) -> None:
    lab.write(wrong=[], rate=0.01)
    lock = (lab.root / "dvc.lock").read_text()
    (lab.root / "dvc.lock").write_text(f"<<<<<<< HEAD\n{lock}=======\n{lock}>>>>>>> other\n")
    side = lab.side()
    assert "dvc.lock: it holds conflict markers of a merge" in side.notes
    found = number(side, "stress.accuracy")
    assert (found.verdict, found.reason) == (None, "dvc.lock of work tree names no predictions of base") or (
        found.reason == "dvc.lock of work tree names no predictions of sft"
    )
    assert found.after["value"] == 1.0


def test_broken_metrics_are_told(lab: Lab) -> None:
    (lab.root / "metrics/quality.json").write_text("{broken")
    side = lab.side()
    assert any("metrics/quality.json: not JSON" in note for note in side.notes)
    assert number(side, "stress.f1").reason == "not measured after"


def test_a_merge_is_told_and_its_branches_commits_are_found(lab: Lab) -> None:
    lab.git("checkout", "-q", "-b", "left")
    lab.commit("Cache batches", code="train(fast)\n")
    lab.git("checkout", "-q", "-b", "right", "main")
    commit(lab.root, "Write notes", {"notes.md": "x"})
    lab.git("merge", "-q", "--no-edit", "left")
    side = lab.side("main", "right")
    assert "right is a merge of 2 commits" in side.notes
    (file,) = side.code
    assert [title.title for title in file.commits] == ["Cache batches"], "the merge itself touched nothing"


def test_a_merge_that_changed_code_itself_is_among_its_commits(lab: Lab) -> None:
    lab.git("checkout", "-q", "-b", "left")
    lab.commit("Cache batches", code="train(fast)\n")
    lab.git("checkout", "-q", "-b", "right", "main")
    commit(lab.root, "Write notes", {"notes.md": "x", "src/train.py": "train(slow)\n"})
    lab.git("merge", "-q", "--no-commit", "-s", "ours", "left")
    (lab.root / "src/train.py").write_text("train(both)\n")
    lab.git("commit", "-qam", "Merge")
    (file,) = lab.side("main", "right").code
    assert {title.title for title in file.commits} == {"Merge", "Write notes", "Cache batches"}


def test_a_renamed_stage_is_recognised_by_what_it_makes(lab: Lab) -> None:
    lab.write(rename="train")
    side = lab.side()
    assert "stage sft is called train now" in side.notes
    assert not any("only " in note for note in side.notes)


def test_a_shallow_clone_says_what_it_does_not_reach(lab: Lab, tmp_path: Path) -> None:
    lab.git("checkout", "-q", "-b", "other")
    lab.commit("Other", code="train(other)\n", rate=0.01)
    lab.git("checkout", "-q", "main")
    lab.commit("Main goes on", rate=0.5)
    url = f"file://{lab.root}"
    git(tmp_path, "clone", "-q", "--depth", "1", "--no-single-branch", url, "shallow")
    repo = repository.open_repository(tmp_path / "shallow")
    (side,) = views.compare(repo, ["origin/main", "origin/other"]).sides
    assert any("this shallow clone reaches (`git fetch --unshallow`)" in note for note in side.notes)
    assert [file.path for file in side.code] == ["src/train.py"]
    with pytest.raises(HistoryError, match="git fetch --unshallow"):
        views.compare(repo, ["origin/main~1", "origin/main"])


def test_a_shallow_clone_says_that_it_does_not_reach_the_fork(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork = lab.git("rev-parse", "HEAD")
    lab.git("checkout", "-q", "-b", "mine")
    lab.commit("Mine", rate=0.01)
    lab.git("checkout", "-q", "main")
    lab.commit("Main goes on", rate=0.5)
    url = f"file://{lab.root}"
    for options, said in ((("--no-single-branch",), "does not reach the fork from main"), ((), "has no main")):
        git(tmp_path, "clone", "-q", "--depth", "1", "--branch", "mine", *options, url, f"shallow{len(options)}")
        monkeypatch.chdir(tmp_path / f"shallow{len(options)}")
        done = CliRunner().invoke(app, ["compare", "--json"])
        (note,) = (note for note in json.loads(done.stdout)["baseline"]["notes"] if note.endswith(revisions.NO_FORK))
        assert said in note
        assert "`git fetch --unshallow" in note
        assert revisions.NO_FORK in " ".join(CliRunner().invoke(app, ["compare"]).stdout.split())
        failed = CliRunner().invoke(app, ["compare", "--fail-if-worse", "*"])
        assert isinstance(failed.exception, HistoryError)
        assert note in str(failed.exception)
        git(Path(), *note.partition("`git ")[2].partition("`")[0].split())
        view = views.compare(repository.open_repository(Path()), [], tests=False)
        assert (view.before.name, view.notes) == (f"origin/main at {fork[:7]}", ())


def test_forty_revisions_at_once(lab: Lab) -> None:
    lab.git("checkout", "-q", "-b", "sweep")
    for i in range(13):
        lab.commit(f"Rate {i}", rate=0.01 + i, wrong=range(0, N, 5 + 2 * i))
    view = lab.compare("main", *(f"sweep~{i % 13}" for i in range(39)))
    assert len(view.sides) == 39
    best = number(view.sides[0], "stress.accuracy")
    assert best.after["value"] == pytest.approx(1 - 3 / N)
    assert best.verdict == "better", "a plain difference outlives the correction for many tests"
    assert view.tests >= 13 * 5


def test_no_repository_is_an_error(tmp_path: Path) -> None:
    clew = ["python", "-m", "clew", "compare"]
    done = subprocess.run(
        clew, cwd=tmp_path, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin", **_python()}
    )
    assert "not in a git repository" in done.stderr


def _python() -> dict[str, str]:
    import os
    import sys

    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "GIT_CEILING_DIRECTORIES": "/",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
