"""One odd commit anywhere in the history is a problem of that commit, and spoils nothing else."""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from clew.history import index, repository, snapshot
from clew.history.index import Index
from examples.history import PIPELINE, commit, experiment, git

BOMB = "a0: &a0 [1, 2]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 22))
MERGES = "a0: &a0 {k: 1}\n" + "".join(f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 22))
DEEP = '{"a": ' * 3000 + "1" + "}" * 3000
LOCK = "schema: '2.0'\nstages:\n  train:\n    cmd: x\n    "
ODD = [
    ("dvc.yaml", "stages: [a]", "stages is not a mapping"),
    ("dvc.yaml", "stages: {a: {do: x}}", "do of stage a is not a mapping"),
    ("dvc.yaml", "stages: {a: {foreach: 3, do: {metrics: ['${item}']}}}", "neither a list nor a mapping"),
    ("dvc.yaml", "stages: {a: {matrix: [1], metrics: ['${item}']}}", "matrix of stage a is not a mapping"),
    ("dvc.yaml", "metrics: [{}]", "an entry without a path"),
    ("dvc.yaml", "metrics: [../secret.json, /tmp/x]", "metrics ../secret.json lies outside of the repository"),
    ("dvc.yaml", "a: [", "not YAML"),
    ("params.yaml", "a: &a\n  b: *a", "nested more than 100 deep"),
    ("params.yaml", BOMB, "more than 100,000 values"),
    ("params.yaml", MERGES, "more than 32 aliases"),
    ("params.yaml", "a: !!bool foo", "not YAML"),
    ("params.yaml/inner.yaml", "a: 1", "params.yaml: it is a folder"),
    ("metrics/quality.json", DEEP, "nested too deeply"),
    ("dvc.lock", f"{LOCK}deps: 3\n", "deps of a stage is not a list"),
    ("dvc.lock", f"{LOCK}deps: [{{path: x, size: {{a: 1}}}}]\n", "size of x is not a number"),
    (
        "dvc.lock",
        f"{LOCK}outs:\n    - path: x\n      hash: md5\n      md5: {'0' * 32}\n      size: {'9' * 30}\n",
        "size",
    ),
]


def _problems(found: Index) -> dict[str, list[str]]:
    return found.problems_of(found.entries())


@pytest.mark.parametrize(("path", "text", "word"), ODD, ids=[f"{path}-{word}" for path, _, word in ODD])
def test_what_cannot_be_read_is_a_problem_of_its_commit(folder: Path, path: str, text: str, word: str) -> None:
    first = commit(folder, "Good", experiment(0.1, 0.5))
    if "/inner" in path:
        commit(folder, "Away", {"params.yaml": None})
    odd = commit(folder, "Odd", {path: text})
    git(folder, "rm", "-qr", path.partition("/inner")[0])
    last = commit(folder, "Good again", experiment(0.2, 0.6))
    repo = repository.open_repository(folder)
    started = time.monotonic()
    with closing(index.open_index(repo)) as found:
        (told,) = [lines for name, lines in _problems(found).items() if name == odd]
        assert _problems(found).keys() == {odd}
        entries = {entry.commit.id: entry for entry in found.entries()}
        assert found.contents([entries[last].params or 0]) == {
            entries[last].params: {"train.rate": 0.2, "train.name": "small"}
        }
    taken = snapshot.take(repo, odd)
    assert time.monotonic() - started < 20
    assert word in "; ".join(told)
    assert word in "; ".join(taken.problems)
    for good in (first, last):
        assert not snapshot.take(repo, good).problems


def test_numbers_and_texts_that_json_cannot_hold_are_texts(folder: Path) -> None:
    odd = '{"a": NaN, "b": 1e400, "c": -Infinity, "d": "\\ud800", "f1": 0.5, "é": 2}'
    commit(folder, "Good", {**experiment(0.1, 0.5), "metrics/quality.json": '{"a": 1.5}'})
    last = commit(folder, "Odd", {"metrics/quality.json": odd, "params.yaml": "x: [.nan, 2024-01-01]\ny: .inf\n"})
    repo = repository.open_repository(folder)
    wanted = {"a": "NaN", "b": "Infinity", "c": "-Infinity", "d": "\ufffd", "f1": 0.5, "é": 2}
    taken = snapshot.take(repo, last)
    assert taken.metrics == {"metrics/quality.json": wanted}
    assert taken.params == {"x": ["NaN", "2024-01-01"], "y": "Infinity"}
    with closing(index.open_index(repo)) as found:
        entry = found.entries()[-1]
        contents = found.contents(entry.documents)
        assert contents[entry.metrics[0]] == wanted
        assert contents[entry.params or 0] == taken.params
        assert set(found.column("metrics/quality.json", "a").values()) == {1.5, "NaN"}
        assert list(found.column("metrics/quality.json", "é").values()) == [2]
        texts = found.database.execute("SELECT content FROM documents").fetchall()
        assert all(json.loads(text, parse_constant=pytest.fail) is not None for (text,) in texts)


def test_a_submodule_below_a_metrics_folder_is_told(folder: Path) -> None:
    first = commit(folder, "Good", {"dvc.yaml": PIPELINE.replace("quality.json", ""), "metrics/a.json": '{"x": 1}'})
    git(folder, "update-index", "--add", "--cacheinfo", f"160000,{first},metrics/sub")
    git(folder, "commit", "-qm", "Submodule")
    repo = repository.open_repository(folder)
    with closing(index.open_index(repo)) as found:
        assert [*_problems(found).values()] == [["metrics/sub: it is a submodule"]]
    taken = snapshot.take(repo, "HEAD")
    assert taken.problems == ("metrics/sub: it is a submodule",)
    assert taken.metrics == {"metrics/a.json": {"x": 1}}


def test_a_bogus_encoding_and_a_clock_gone_wild_spoil_nothing(folder: Path) -> None:
    commit(folder, "Good", experiment(0.1, 0.5))
    tree, parent = git(folder, "rev-parse", "HEAD^{tree}"), git(folder, "rev-parse", "HEAD")
    text = f"tree {tree}\nparent {parent}\nauthor Zoé <z@e.org> 1 +0000\ncommitter Zoé <z@e.org> {'9' * 14} +0000\n"
    raw = f"{text}encoding bogus\n\nÀ propos\n".encode()
    command = ["git", "hash-object", "-t", "commit", "-w", "--stdin", "--literally"]
    name = subprocess.run(command, cwd=folder, input=raw, check=True, capture_output=True).stdout.decode().strip()
    git(folder, "update-ref", "refs/heads/main", name)
    repo = repository.open_repository(folder)
    with closing(index.open_index(repo)) as found:
        said = found.entries()[-1].commit
    assert said == snapshot.take(repo, "main").commit
    assert (said.title, said.author) == ("À propos", "Zoé")
    assert datetime.fromtimestamp(said.time).astimezone().year == 9999


def _literally(folder: Path, raw: str) -> str:
    command = ["git", "hash-object", "-t", "commit", "-w", "--stdin", "--literally"]
    done = subprocess.run(command, cwd=folder, input=raw, text=True, check=True, capture_output=True)
    return done.stdout.strip()


def test_a_commit_that_git_would_not_have_made_hides_none_before_it(folder: Path) -> None:
    first = commit(folder, "First", experiment(0.1, 0.5))
    tree = git(folder, "rev-parse", "HEAD^{tree}")
    odd = _literally(folder, f"tree {tree}\nparent {first}\nauthor nobody\n\nNo author, and made at no time")
    bare = _literally(folder, f"parent {odd}\nauthor Z <z@e.org> 1 +0000\n\nNo files")
    (folder / ".git/refs/tags/odd").write_text(f"{bare}\n")
    repo = repository.open_repository(folder)
    with closing(index.open_index(repo)) as found:
        assert [entry.commit.id for entry in found.entries()] == [first, odd, bare]
        assert _problems(found).keys() == {bare}
        assert "the commit names no files" in _problems(found)[bare][0]
    assert snapshot.take(repo, odd).params == snapshot.take(repo, first).params
    assert "the commit names no files" in "; ".join(snapshot.take(repo, bare).problems)


def test_damaged_objects_cost_no_others(folder: Path) -> None:
    first = commit(folder, "First", experiment(0.1, 0.5))
    last = commit(folder, "Last", experiment(0.2, 0.6))
    blob = git(folder, "rev-parse", f"{first}:params.yaml")
    path = folder / ".git/objects" / blob[:2] / blob[2:]
    path.chmod(0o644)
    path.write_bytes(b"no object")
    repo = repository.open_repository(folder)
    assert any("params.yaml: git does not have it" in problem for problem in snapshot.take(repo, first).problems)
    assert snapshot.take(repo, last).params == {"train.rate": 0.2, "train.name": "small"}


@pytest.mark.parametrize("kind", ["blob:none", "tree:0"])
def test_a_partial_clone_tells_what_it_lacks_and_is_read_again_when_it_came(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    for number in range(3):
        commit(folder, f"Number {number}", experiment(number, number))
    git(folder, "config", "uploadpack.allowFilter", "true")
    git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    git(tmp_path, "clone", "-q", "--no-checkout", f"--filter={kind}", f"file://{folder}", "partial")
    repo = repository.open_repository(tmp_path / "partial")
    with closing(index.open_index(repo)) as found:
        assert len(_problems(found)) == 3
    assert "git does not have it here (a partial clone" in "; ".join(snapshot.take(repo, "main").problems)
    git(tmp_path / "partial", "fetch", "-q", "--refetch", "--no-filter")
    repo = repository.open_repository(tmp_path / "partial")
    with closing(index.open_index(repo)) as found:
        assert _problems(found) == {}
        assert all(entry.metrics for entry in found.entries())


def test_the_work_tree_is_read_within_the_repository_only(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text('{"key": 1}')
    commit(folder, "Good", experiment(0.1, 0.5))
    (folder / "dvc.yaml").write_text(f"metrics: [../secret.json, {tmp_path}/secret.json, link.json, m.json]\n")
    (folder / "link.json").symlink_to(tmp_path / "secret.json")
    (folder / "m.json").write_text('{"x": 1}')
    taken = snapshot.take(repository.open_repository(folder), repository.WORK_TREE)
    assert taken.metrics == {"m.json": {"x": 1}}
    assert [problem.rpartition(": ")[2] for problem in taken.problems] == ["not read"] * 3
