"""A checkpoint counts only when it is whole."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from clew.errors import SetupError
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

    def place(section: str = "{}", seed: int = 1, device: str = "cpu float32") -> Path:
        with checkpoints.folder("sft", [data], section, seed, device) as found:
            return found

    first = place()
    assert place() == first
    others = [place(section='{"rank": 8}'), place(seed=2), place(device="cuda bfloat16")]
    data.write_text("b")
    assert len({first, *others, place()}) == 5


def test_checkpoints_go_when_training_ends_well_and_stay_when_it_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with suppress(KeyboardInterrupt), checkpoints.folder("sft", [], "{}", 1, "cpu") as folder:
        (folder / "checkpoint-2").mkdir(parents=True)
        raise KeyboardInterrupt
    with checkpoints.folder("sft", [], "{}", 1, "cpu") as folder:
        assert (folder / "checkpoint-2").exists()
        with pytest.raises(SetupError, match="another process is running sft"):
            checkpoints.folder("sft", [], "{}", 1, "cpu").__enter__()
        with checkpoints.folder("align", [], "{}", 1, "cpu"):
            pass
    assert not folder.exists()
