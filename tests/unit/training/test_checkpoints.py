"""A checkpoint counts only when it is whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from clew.training import checkpoints


def _checkpoint(parent: Path, step: int) -> Path:
    folder = parent / f"checkpoint-{step}"
    (folder / "deep").mkdir(parents=True)
    (folder / "weights").write_bytes(b"w" * 1000)
    (folder / "deep" / "state").write_text(str(step))
    checkpoints.seal(folder)
    return folder


def test_the_newest_whole_checkpoint_is_found(tmp_path: Path) -> None:
    _checkpoint(tmp_path, 8)
    newest = _checkpoint(tmp_path, 10)
    assert checkpoints.newest(tmp_path) == newest


@pytest.mark.parametrize("harm", ["unsealed", "missing", "shortened", "altered", "seal"])
def test_a_harmed_checkpoint_is_removed_and_the_one_before_taken(tmp_path: Path, harm: str) -> None:
    before = _checkpoint(tmp_path, 4)
    newest = _checkpoint(tmp_path, 6)
    if harm == "unsealed":
        (newest / checkpoints.SEAL).unlink()
    elif harm == "missing":
        (newest / "weights").unlink()
    elif harm == "shortened":
        (newest / "weights").write_bytes(b"w" * 999)
    elif harm == "altered":
        (newest / "weights").write_bytes(b"w" * 999 + b"v")
    else:
        (newest / checkpoints.SEAL).write_text('{"weights": "')
    assert checkpoints.newest(tmp_path) == before
    assert not newest.exists()


def test_without_a_whole_checkpoint_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-2").mkdir()
    assert checkpoints.newest(tmp_path) is None
    assert checkpoints.newest(tmp_path / "nowhere") is None


def test_the_folder_follows_inputs_section_seed_and_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = Path("data.parquet")
    data.write_text("a")
    first = checkpoints.folder("sft", [data], "{}", 1, "cpu float32")
    assert checkpoints.folder("sft", [data], "{}", 1, "cpu float32") == first
    others = [
        checkpoints.folder("sft", [data], '{"rank": 8}', 1, "cpu float32"),
        checkpoints.folder("sft", [data], "{}", 2, "cpu float32"),
        checkpoints.folder("sft", [data], "{}", 1, "cuda bfloat16"),
    ]
    data.write_text("b")
    others.append(checkpoints.folder("sft", [data], "{}", 1, "cpu float32"))
    assert len({first, *others}) == 5
