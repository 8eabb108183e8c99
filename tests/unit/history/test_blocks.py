"""The quick YAML reader reads what ruamel.yaml, and so DVC, reads: the same tree or the same refusal."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from clew.history import blocks

ROOT = Path(__file__).parents[3]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from(["yes", "No", "null", "~", "1e3", "1_0", "0o7", "a b", "a: b", "a #b", "2024-01-01", "-", "é", ""]),
)
KEYS = st.one_of(st.from_regex(r"[a-z_][a-z0-9_-]{0,6}", fullmatch=True), st.sampled_from(["on", "1", "a b", "", "Y"]))
TREES = st.dictionaries(
    KEYS,
    st.recursive(SCALARS, lambda t: st.lists(t, max_size=3) | st.dictionaries(KEYS, t, max_size=3), max_leaves=8),
    max_size=5,
)


def _dumped(tree: Any, flow: bool | None) -> str:
    yaml = YAML(typ="safe")
    yaml.default_flow_style = flow
    out = io.StringIO()
    yaml.dump(tree, out)
    return out.getvalue()


def _outcome(load: Any, text: str) -> Any:
    try:
        return repr(load(text) or {})
    except blocks.NotYaml:
        return None


@given(TREES, st.sampled_from([True, False, None]))
def test_what_yaml_libraries_write_is_read_alike(tree: dict[str, Any], flow: bool | None) -> None:
    text = _dumped(tree, flow)
    assert _outcome(blocks.load, text) == _outcome(blocks.by_ruamel, text)


LINES = st.sampled_from(
    [
        *(
            "a:",
            "a: 1",
            "b: x y",
            "  c: 0.5",
            "  d:",
            "    e: true",
            " f: 1",
            "\tg: 1",
            "# note",
            "  # note",
            "",
            "a:1",
        ),
        *(
            "- 1",
            "  - 1",
            "a: [1,",
            "  2]",
            "]",
            "a: |",
            "  text",
            'a: "x',
            'y"',
            "a: &x 1",
            "b: *x",
            "---",
            "...",
            "? a",
        ),
        *(
            ": b",
            "%YAML 1.1",
            "a: 1 # note",
            "a: 1#",
            "a: '",
            "b: 'it''s'",
            "a: >-",
            "on: 1",
            "<<: {a: 1}",
            "a: -0",
            "b",
        ),
        *(
            "a: 01",
            "a: 1.",
            "a: .5",
            "a: +1",
            "a: 1.5e3",
            "a: 1.5e",
            "a: ~",
            "a:\u2028b: 1",
            "a: \x85",
            "c: {}",
            "z: @x",
        ),
    ]
)


FLOW = st.sampled_from(
    [
        *(
            "- a",
            "- b c: d",
            "  - b: 1",
            "    c: [1, x]",
            "- k: [a, b]",
            "  e: 1",
            "-",
            "- ",
            "-  f: 1",
            "   g: 2",
            "- - i",
        ),
        *('d: {e: false, f: "x y"}', "- {g: 1}", "- [h]", "- l/m.json: {cache: false}", "n:", "  n:", "- n:", "  - n:"),
        *(
            "a: [b, ]",
            "b: [c,, d]",
            "c: {d}",
            "d: {e: }",
            "e: [f: g]",
            "f: [x #y, z]",
            "g: [1 2]",
            "h: ['b', \"c\"] # note",
        ),
        *("i: [b]c", "j: {b: 1, b: 2}", "k: {on: 1, true: 2}", "l: [-1, 0.5, -0, 01]", "m: [http://x]", "n: {b: [1]}"),
        *(
            "o: [null, True, yes, y, .inf, ~]",
            "p: [",
            "]",
            "q: {a:1}",
            "r: {a: 1,b: 2 }",
            "s: [ ]",
            "t: { }",
            "u: [a b]",
        ),
        *(
            "x: a, b (c)",
            "x: it's",
            "y: ${z} and",
            "x: a:b",
            "x: a: b",
            "x: a #b",
            "x: a#b",
            "x: a  b",
            "x: $",
            "x: a:",
        ),
        *(
            "- http://y",
            "- x: http://y",
            "y: yes",
            "n: No",
            "on: off",
            'x: ["${a}", b]',
            "x: [${a}]",
            "y: c: [d]",
            "x: a]",
        ),
        *(
            "x: a - b",
            "x: a ? b",
            "x: a & b",
            "x: {a: b, c}",
            "x: a/b@c",
            "c/d.e: 1",
            "x: /a",
            "- -1",
            "- 'a': 1",
            "a b: 1",
        ),
    ]
)


@given(st.lists(LINES, max_size=6).map("\n".join))
@example("a: 1\na: 2")
@example("a: |\n  text\nb: 1")
@example("a:\n  b: 1\n  b: 2")
@example("a:\nb: 1\n c: 2")
def test_any_lines_are_read_or_refused_alike(text: str) -> None:
    assert _outcome(blocks.load, text) == _outcome(blocks.by_ruamel, text)


@given(st.lists(FLOW | LINES, max_size=6).map("\n".join))
@example("- a\n  - b")
@example("  a")
@example("n:\n- n:\n- a\nx: a#b")
@example("n:\n- n:\n  - a\n  e: 1")
def test_lists_and_brackets_are_read_or_refused_alike(text: str) -> None:
    assert _outcome(blocks.load, text) == _outcome(blocks.by_ruamel, text)
    assert _outcome(blocks.load, f"n:\n{text}") == _outcome(blocks.by_ruamel, f"n:\n{text}")


@given(st.text("ab1.0:#,-[]{}'\"$& /\\_e", max_size=12))
def test_any_value_is_read_or_refused_alike(text: str) -> None:
    for line in (f"a: {text}", f"a:\n- {text}", f"a: [{text}]", f"a: {{b: {text}}}", f"a:\n- {text}: 1\n  c: d"):
        assert _outcome(blocks.load, line) == _outcome(blocks.by_ruamel, line)


def test_a_dvc_yaml_needs_no_ruamel(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "dvc.yaml").read_text()
    wanted = blocks.by_ruamel(text)
    monkeypatch.setattr(blocks, "by_ruamel", lambda _: pytest.fail("ruamel was asked"))
    assert blocks.load(text) == wanted


def test_the_default_experiment_is_read_alike() -> None:
    for name in ("params.yaml", "dvc.yaml", "dvc.lock"):
        text = (ROOT / name).read_text()
        assert blocks.load(text) == blocks.by_ruamel(text)


def test_plain_sections_do_not_need_ruamel(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> None:
        raise AssertionError("ruamel was asked")

    monkeypatch.setattr(blocks, "by_ruamel", refuse)
    text = 'seed: 13\n\n# Training.\nsft: # one section\n  rate: 1.0e-3\n  lora:\n    rank: 8\n  name: "a: b"\n'
    assert blocks.load(text) == {"seed": 13, "sft": {"rate": 0.001, "lora": {"rank": 8}, "name": "a: b"}}
