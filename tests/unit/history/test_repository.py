"""Revisions by name, and plain words where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from clew.errors import HistoryError
from clew.history import repository
from examples.history import commit, experiment, git


def test_a_revision_is_a_branch_a_tag_an_id_or_an_experiment(folder: Path) -> None:
    first = commit(folder, "First", experiment(0.1, 0.5))
    git(folder, "tag", "-a", "v1", "-m", "the first")
    git(folder, "update-ref", "refs/exps/ab/cdef/hazy-dawn", first)
    second = commit(folder, "Second", experiment(0.2, 0.6))
    repo = repository.open_repository(folder)
    for rev in ("v1", "HEAD~1", first, first[:8], "hazy-dawn"):
        assert str(repository.resolve(repo, rev).id) == first
    assert str(repository.resolve(repo, "main").id) == second
    assert repository.heads(repo) == {"HEAD": second, "main": second, "v1": first, "hazy-dawn": first}


@pytest.mark.parametrize("name", ["a\u2028b", "a\u0085b", "a\u0085", "a\u00a0"])
def test_a_branch_whose_name_holds_what_elsewhere_ends_a_line_is_a_branch(folder: Path, name: str) -> None:
    first = commit(folder, "First", experiment(0.1, 0.5))
    git(folder, "switch", "-q", "-c", name)
    repo = repository.open_repository(folder)
    assert repository.heads(repo) == {"HEAD": first, "main": first, name: first}
    assert repository.branch(repo) == f"refs/heads/{name}"
    assert repository.resolve(repo, name).id == first


def test_an_unknown_revision_is_told_with_the_nearest(folder: Path) -> None:
    commit(folder, "First", {})
    git(folder, "branch", "lora-rank-16")
    repo = repository.open_repository(folder)
    with pytest.raises(HistoryError, match=r"lora-rnk-16: no such revision\. Did you mean `lora-rank-16`"):
        repository.resolve(repo, "lora-rnk-16")
    with pytest.raises(HistoryError, match="There are: HEAD, lora-rank-16, main"):
        repository.resolve(repo, "zzzz")


def test_a_repository_without_commits_says_so(folder: Path) -> None:
    repo = repository.open_repository(folder)
    assert repository.heads(repo) == {}
    with pytest.raises(HistoryError, match="the repository has no commits"):
        repository.resolve(repo, "main")


def test_outside_git_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(HistoryError, match="not in a git repository"):
        repository.open_repository(tmp_path)


def test_a_shallow_clone_is_walked_to_its_edge(folder: Path, tmp_path: Path) -> None:
    for number in range(4):
        commit(folder, f"Number {number}", experiment(number, number))
    git(tmp_path, "clone", "-q", "--depth", "2", f"file://{folder}", "shallow")
    repo = repository.open_repository(tmp_path / "shallow")
    walked = [
        repository.described(found).title
        for found in repository.walk(repo, repository.heads(repo).values(), lambda _: False)
    ]
    assert walked == ["Number 2", "Number 3"]
    with pytest.raises(HistoryError, match="This clone is shallow"):
        repository.resolve(repo, "HEAD~3")


def test_parents_come_before_children_across_merges(folder: Path) -> None:
    commit(folder, "Root", {"a": "1"})
    git(folder, "switch", "-q", "-c", "side")
    commit(folder, "Side", {"b": "1"})
    git(folder, "switch", "-q", "main")
    commit(folder, "Main", {"c": "1"})
    git(folder, "merge", "-q", "--no-ff", "-m", "Merge", "side")
    repo = repository.open_repository(folder)
    found = list(repository.walk(repo, repository.heads(repo).values(), lambda _: False))
    place = {str(one.id): number for number, one in enumerate(found)}
    assert len(found) == 4
    assert all(place[str(parent)] < place[str(one.id)] for one in found for parent in one.parents)


def test_an_experiment_hides_no_branch_and_not_head(folder: Path) -> None:
    first = commit(folder, "First", {"a": "1"})
    second = commit(folder, "Second", {"a": "2"})
    for name in ("main", "HEAD", "own"):
        git(folder, "update-ref", f"refs/exps/ab/{'c' * 38}/{name}", first)
    git(folder, "update-ref", "refs/exps/exec/EXEC_BASELINE", first)
    repo = repository.open_repository(folder)
    assert [str(repository.resolve(repo, name).id) for name in ("main", "HEAD")] == [second, second]
    assert str(repository.resolve(repo, "own").id) == first
    assert {str(repository.resolve(repo, name).id) for name in ("exps/abcccccc/main", "exps/abcccccc/HEAD")} == {first}
    with pytest.raises(HistoryError, match="no such revision"):
        repository.resolve(repo, "EXEC_BASELINE")


def test_an_experiment_of_two_baselines_is_asked_for_by_the_longer_name(folder: Path) -> None:
    first = commit(folder, "First", {"a": "1"})
    for baseline in ("ab", "cd"):
        git(folder, "update-ref", f"refs/exps/{baseline}/{'0' * 38}/lr-test", first)
    repo = repository.open_repository(folder)
    with pytest.raises(HistoryError, match="Write `exps/ab000000/lr-test` or `exps/cd000000/lr-test`"):
        repository.resolve(repo, "lr-test")
    assert str(repository.resolve(repo, "exps/cd000000/lr-test").id) == first


def test_a_path_may_hold_line_breaks(folder: Path) -> None:
    first = commit(folder, "First", experiment(0.1, 0.5))
    for kind, place in ((), "a\nb\n"), (("--bare",), "c\nd"):
        git(folder.parent, "clone", "-q", *kind, str(folder), place)
        repo = repository.open_repository(folder.parent / place)
        assert repository.head(repo) == first
        assert repo.workdir == (None if kind else str(folder.parent / place))
        assert repo.common == folder.parent / place / ("" if kind else ".git")
        assert repository.heads(repo)["HEAD"] == first
    git(folder, "worktree", "add", "-q", str(folder.parent / "e\nf"), "-b", "side")
    repo = repository.open_repository(folder.parent / "e\nf")
    assert (repository.head(repo), repository.branch(repo)) == (first, "refs/heads/side")
    assert repo.common == folder / ".git"


def test_a_sha256_repository_is_refused_in_a_line(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--object-format=sha256", "other")
    with pytest.raises(HistoryError, match="SHA-256, which clew cannot read"):
        repository.open_repository(tmp_path / "other")


def test_a_repository_of_another_user_is_refused_with_gits_advice(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(HistoryError, match=f"git config --global --add safe.directory {folder}"):
        repository.open_repository(folder)
