"""Which stages would run and why: held against what DVC itself says, edit by edit."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clew.planning.stages import Pipeline, Planned

PIPELINE = """
stages:
  fetch:
    cmd: cp -r raw data
    deps: [raw]
    outs: [data]
  train:
    cmd: mkdir -p models && cat data/a.txt code/one.py > models/m && date +%N > log
    deps: [data, code]
    params: [seed, sft]
    outs: [models/m]
    metrics: [log: {cache: false}]
  score:
    foreach: ${score.variants}
    do:
      cmd: mkdir -p scores && cat models/m > scores/${item}
      deps: [models/m]
      params: ["score.of.${item}"]
      outs: ["scores/${item}"]
  report:
    cmd: cat scores/* > report
    deps: [scores]
    outs: [report]
"""
PARAMS = """
seed: 1
sft: {rank: 8, lora: null, names: [a, b]}
score:
  variants: [x, y]
  of: {x: 1, y: 2}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose pipeline has run."""
    from dvc.repo import Repo

    root = tmp_path_factory.mktemp("made")
    for name, text in {
        "dvc.yaml": PIPELINE,
        "params.yaml": PARAMS,
        ".dvcignore": "*.pyc\n",
        ".gitignore": "/data\n/models/\n/scores/\n/report\n",  # else DVC writes one into each of these folders
        "raw/a.txt": "a",
        "raw/b/c.txt": "c",
        "code/one.py": "one = 1\n",
        "code/two.py": "two = 2\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    _git(root, "init", "-q")
    with contextlib.chdir(root), Repo.init(str(root)) as repo:
        repo.reproduce()
    _git(root, "add", "-A")
    _git(root, "commit", "-qm", "made")
    return root


def _git(root: Path, *arguments: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True)


def _write(name: str, text: str) -> Callable[[Path], Any]:
    def edit(root: Path) -> None:
        (root / name).write_text(text)

    return edit


def _remove(name: str) -> Callable[[Path], Any]:
    def edit(root: Path) -> None:
        shutil.rmtree(root / name) if (root / name).is_dir() else (root / name).unlink()

    return edit


def _replace(name: str, old: str, new: str) -> Callable[[Path], Any]:
    def edit(root: Path) -> None:
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new))

    return edit


def _all(*edits: Callable[[Path], Any]) -> Callable[[Path], Any]:
    def edit(root: Path) -> None:
        for one in edits:
            one(root)

    return edit


EDITS: dict[str, tuple[Callable[[Path], Any], dict[str, list[str]]]] = {
    "nothing": (lambda _: None, {}),
    "a param": (
        _replace("params.yaml", "rank: 8", "rank: 16"),
        {"train": ["param sft.rank 8 16"], "score@x": ["upstream train"], "score@y": ["upstream train"]},
    ),
    "a param of one instance": (
        _replace("params.yaml", "y: 2", "y: 3"),
        {"score@y": ["param score.of.y 2 3"], "report": ["upstream score@y"]},
    ),
    "a null that became a section": (
        _replace("params.yaml", "lora: null", "lora: {alpha: 4}"),
        {"train": ["param sft.lora.alpha (not set) 4"]},
    ),
    "the order of a list": (_replace("params.yaml", "[a, b]", "[b, a]"), {"train": ["param sft.names"]}),
    "a comment": (_replace("params.yaml", "seed: 1", "seed: 1 # a comment"), {}),
    "a code file": (_write("code/one.py", "one = 11\n"), {"train": ["code code/one.py"]}),
    "a new code file": (_write("code/three.py", ""), {"train": ["code code/three.py"]}),
    "what .dvcignore leaves out": (_write("code/one.pyc", "x"), {}),
    "a raw file": (_write("raw/b/c.txt", "other"), {"fetch": ["dep raw"], "train": ["upstream fetch"]}),
    "an out by hand": (_write("data/a.txt", "other"), {"fetch": ["out data"], "train": ["dep data"]}),
    "an out that is gone": (_remove("models/m"), {"train": ["out models/m"]}),
    "all outs that are gone": (_all(_remove("data"), _remove("models"), _remove("scores"), _remove("report")), {}),
    "an out without a cache that is gone": (_remove("log"), {"train": ["out log"]}),
    "the cache that is gone": (_remove(".dvc/cache"), {"fetch": ["out data"]}),
    "a command": (_replace("dvc.yaml", "cat scores/* >", "cat scores/x >"), {"report": ["command report"]}),
    "one more instance": (
        _all(_replace("params.yaml", "[x, y]", "[x, y, z]"), _replace("params.yaml", "y: 2", "y: 2, z: 3")),
        {"score@z": ["never run score@z"], "report": ["upstream score@z"]},
    ),
    "no dvc.lock": (_remove("dvc.lock"), {"fetch": ["never run fetch"], "report": ["never run report"]}),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_stage_has_reasons_of_its_own_exactly_where_dvc_status_names_it(
    made: Path, tmp_path: Path, name: str
) -> None:
    from dvc.repo import Repo

    root = tmp_path / "repo"
    shutil.copytree(made, root, symlinks=True)
    edit, expected = EDITS[name]
    edit(root)
    planned = {one.name: one for one in Pipeline(root).stages()}
    with contextlib.chdir(root), Repo(str(root)) as repo:
        said = repo.status()
        missing = any("deleted" in str(one) or "changed outs" in str(one) for one in said.values())
        dry = (
            None if missing else {stage.addressing for stage in repo.reproduce(dry=True)}
        )  # it ends where a dep is gone
    own = {one.name for one in planned.values() if any(reason.kind != "upstream" for reason in one.reasons)}
    assert own == set(said)
    assert dry in (None, own)
    for stage, reasons in expected.items():
        told = [" ".join(map(str, reason)) for reason in planned[stage].reasons]
        for reason in reasons:
            assert any(one.startswith(reason) for one in told), (stage, told)
    if not said:
        assert {one.fate for one in planned.values()} == {"kept"}


@pytest.mark.parametrize(
    "name", ["a param", "a raw file", "an out by hand", "all outs that are gone", "a code file", "a command"]
)
def test_what_is_told_to_run_runs_and_what_is_told_to_come_back_does_not(
    made: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dvc.repo import Repo
    from dvc.stage import run

    root = tmp_path / "repo"
    shutil.copytree(made, root, symlinks=True)
    shutil.rmtree(root / ".dvc/cache/runs")  # DVC takes from there what it ran before
    EDITS[name][0](root)
    planned = Pipeline(root).stages()
    ran: list[str] = []
    cmd_run = run.cmd_run
    monkeypatch.setattr(run, "cmd_run", lambda stage, *a, **k: (ran.append(stage.addressing), cmd_run(stage, *a, **k)))
    with contextlib.chdir(root), Repo(str(root)) as repo:
        repo.reproduce()
    assert set(ran) <= {one.name for one in planned if one.fate == "runs"}
    assert {one.name for one in planned if _is_first(one)} <= set(ran)
    assert {one.fate for one in Pipeline(root).stages()} == {"kept"}


def _is_first(one: Planned) -> bool:
    return one.fate == "runs" and all(reason.kind != "upstream" for reason in one.reasons)


def test_the_md5s_of_large_files_are_remembered_until_they_change(made: Path, tmp_path: Path) -> None:
    from clew.planning.digests import Digests

    (tmp_path / "large").write_bytes(b"x" * (2 << 20))
    first = Digests(tmp_path)
    before = first.md5("large")
    first.keep()
    assert Digests(tmp_path).known["large"][3] == before
    (tmp_path / "large").write_bytes(b"y" * (2 << 20))
    assert Digests(tmp_path).md5("large") != before
