"""Files are replaced whole or not at all; what is written is the same each time."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew import io, rows
from clew.errors import DataError


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_file_or_folder_is_replaced_only_when_the_block_ends_well() -> None:
    file, folder = Path("a/f.txt"), Path("a/d")
    with io.replace_file(file) as aside:
        aside.write_text("old")
    with io.replace_folder(folder) as aside:
        (aside / "x").write_text("old")
    for replace, half in ((io.replace_file(file), ""), (io.replace_folder(folder), "y")):
        with contextlib.suppress(RuntimeError), replace as aside:
            (aside / half if half else aside).write_text("half")
            raise RuntimeError
    assert file.read_text() == "old"
    assert [path.name for path in folder.iterdir()] == ["x"]
    assert sorted(path.name for path in Path("a").iterdir()) == ["d", "f.txt"]
    with io.replace_folder(folder) as aside:
        (aside / "y").write_text("new")
    assert [path.name for path in folder.iterdir()] == ["y"]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False, width=32) | st.text(max_size=4),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=4), children, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_json_is_sorted_rounded_and_stable(value: object) -> None:
    io.write_json(Path("a.json"), value)
    first = Path("a.json").read_bytes()
    io.write_json(Path("a.json"), io.read_json(Path("a.json")))
    assert Path("a.json").read_bytes() == first
    assert b"-0.0\n" not in first


def test_json_refuses_nan() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        io.write_json(Path("a.json"), {"x": float("nan")})
    assert not Path("a.json").exists()


def test_a_folders_digest_is_what_sha256sum_prints() -> None:
    names = {"b": "1", "a/c": "2", "a b": "3", os.fsdecode(b"caf\xe9"): "4", "caf\U0001f600": "5", "caf\uff01": "6"}
    for name, text in names.items():
        (Path("d") / name).parent.mkdir(parents=True, exist_ok=True)
        (Path("d") / name).write_text(text)
    command = "find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum"
    printed = subprocess.run(["sh", "-c", command], cwd="d", capture_output=True, text=True, check=True).stdout
    assert io.tree_sha256(Path("d")) == printed.split()[0]
    assert io.tree_size(Path("d")) == 6


def test_parquet_of_the_same_rows_has_the_same_bytes() -> None:
    row = dict.fromkeys(rows.SCHEMA.names) | {"row_id": "1", "groups": {"a": "b"}, "weight": 1.0}
    for name in ("1.parquet", "2.parquet"):
        io.write_parquet(Path(name), [row], rows.SCHEMA)
    assert Path("1.parquet").read_bytes() == Path("2.parquet").read_bytes()
    assert io.read_parquet(Path("1.parquet"), rows.SCHEMA) == [row]


def test_csv_rounds_floats_and_leaves_none_empty() -> None:
    io.write_csv(Path("a.csv"), ["x", "y"], [[0.12345678, None], ["a,b", 1]])
    assert Path("a.csv").read_text() == 'x,y\n0.123457,\n"a,b",1\n'
    assert io.read_csv(Path("a.csv"))[1] == {"x": "a,b", "y": "1"}
    assert json.loads(json.dumps(io.read_csv(Path("a.csv"))))


def test_what_a_killed_run_left_is_swept_and_what_a_living_one_writes_is_not() -> None:
    Path("a").mkdir()
    gone, alive = Path("a/.d.999999999-x.part"), Path(f"a/.d.{os.getpid()}-x.part")
    gone.mkdir()
    alive.write_text("")
    with io.replace_folder(Path("a/d")):
        pass
    assert not gone.exists()
    assert alive.exists()


def test_a_broken_file_is_told() -> None:
    Path("x.parquet").write_bytes(b"PAR1 broken")
    Path("x.json").write_text("<<<<<<< HEAD")
    with pytest.raises(DataError, match=r"x.parquet: the file cannot be read"):
        io.read_parquet(Path("x.parquet"), rows.SCHEMA)
    with pytest.raises(DataError, match=r"x.json: the file cannot be read"):
        io.read_json(Path("x.json"))
