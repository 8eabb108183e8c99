"""dvc.lock is read as DVC writes it, quickly, and refused with a word where it cannot be."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from clew.history import blocks, lockfile
from examples.history import lock

ROOT = Path(__file__).parents[3]
PATHS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=100)
ARTIFACTS = st.lists(
    st.fixed_dictionaries(
        {"path": PATHS, "hash": st.just("md5"), "md5": st.from_regex(r"[0-9a-f]{32}(\.dir)?", fullmatch=True)},
        optional={"size": st.integers(0, 1 << 50), "nfiles": st.integers(0, 99), "isexec": st.just(True)},
    ),
    max_size=3,
)
STAGES = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9@._-]{0,12}", fullmatch=True),
    st.fixed_dictionaries(
        {"cmd": st.one_of(PATHS, st.lists(PATHS, min_size=1, max_size=2))},
        optional={
            "deps": ARTIFACTS,
            "params": st.just({"params.yaml": {"sft": {"rate": 0.1, "names": ["a", "b"]}}}),
            "outs": ARTIFACTS,
        },
    ),
    max_size=3,
)


def _as_dvc_writes(stages: dict[str, Any]) -> str:
    yaml = YAML()
    yaml.default_flow_style = False
    out = io.StringIO()
    yaml.dump({"schema": "2.0", "stages": stages}, out)
    return out.getvalue()


@given(STAGES)
def test_every_stage_comes_back_as_it_was_written(stages: dict[str, Any]) -> None:
    found = lockfile.read(_as_dvc_writes(stages))
    assert list(found) == list(stages)
    for name, block in stages.items():
        cmd = block["cmd"]
        assert found[name].cmd == (" && ".join(cmd) if isinstance(cmd, list) else cmd)
        for side in ("deps", "outs"):
            wanted = [(e["path"], e["md5"], e.get("size"), e.get("nfiles")) for e in block.get(side, [])]
            assert list(map(tuple, getattr(found[name], side))) == wanted
        assert (blocks.load(found[name].params) or {}) == block.get("params", {})


def test_the_default_experiments_lock_needs_no_ruamel(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "dvc.lock").read_text()
    wanted = blocks.by_ruamel(text)["stages"]
    monkeypatch.setattr(blocks, "by_ruamel", None)
    found = lockfile.read(text)
    assert list(found) == list(wanted)
    assert [out.md5 for stage in found.values() for out in stage.outs] == [
        out["md5"] for stage in wanted.values() for out in stage["outs"]
    ]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("<<<<<<< HEAD\n" + lock() + "=======\n>>>>>>> lora\n", "conflict markers"),
        ("sft:\n  cmd: x\n", "its schema is not named"),
        ("schema: '3.0'\nstages: {}\n", "its schema is 3.0"),
        ("schema: '2.0'\nstages: [", "not YAML"),
        ("- a\n", "not a mapping"),
        (lock(a=("0" * 32, {})) + "  a:\n    cmd: x\n", "stands in it twice"),
        ("schema: '2.0'\nstages:\n  a:\n    deps:\n    - hash: md5\n", "an entry without a path"),
    ],
)
def test_what_is_no_lock_is_refused_with_a_word(text: str, word: str) -> None:
    with pytest.raises(lockfile.LockError, match=word):
        lockfile.read(text)


def test_an_empty_lock_has_no_stages() -> None:
    assert lockfile.read("") == {}
    assert lockfile.read("schema: '2.0'\nstages: {}\n") == {}
