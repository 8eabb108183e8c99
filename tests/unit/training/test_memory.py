"""How a batch is split where params.yaml says `auto`."""

from __future__ import annotations

from pathlib import Path

import pytest

from clew.training import device, memory
from examples import tiny_model

CPU = device.Device("cpu", "float32", "sdpa")
HALF = device.Device("cpu", "bfloat16", "sdpa")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_model.write(tmp_path / "model")


def _settled(model: Path, monkeypatch: pytest.MonkeyPatch, bytes_: float, batch: int = 8) -> int:
    monkeypatch.setattr(memory, "total", lambda _: bytes_)
    section = tiny_model.sft_params(batch_size=batch, micro_batch_size="auto")
    found = memory.settle(section, model.parent / f"run {bytes_} {batch}", model, 96, CPU).micro_batch_size
    assert isinstance(found, int)
    return found


def test_a_batch_is_halved_until_it_fits(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = tiny_model.sft_params()
    for rows in (8, 4, 2, 1):
        room = memory.peak(section, model, rows * 96, CPU) / memory.SHARE
        assert _settled(model, monkeypatch, room + 1) == rows
    assert _settled(model, monkeypatch, 0) == 1
    assert _settled(model, monkeypatch, 0, batch=12) == 3, "what is odd is not halved: micro-batches divide the batch"


def test_a_number_is_taken_as_it_is(model: Path) -> None:
    section = tiny_model.sft_params(micro_batch_size=2)
    assert memory.settle(section, model.parent / "run", model, 10**9, CPU) is section


def test_what_needs_less_is_estimated_to_need_less(model: Path) -> None:
    full = tiny_model.sft_params(method="full")
    assert memory.peak(full, model, 96, CPU) > memory.peak(tiny_model.sft_params(), model, 96, CPU)
    assert memory.peak(full, model, 96, CPU) > memory.peak(full, model, 96, HALF)
    again = tiny_model.sft_params(method="full", gradient_checkpointing=True)
    assert memory.peak(full, model, 9600, CPU) > memory.peak(again, model, 9600, CPU)


def test_the_machines_memory_is_what_its_control_group_allows() -> None:
    import psutil

    assert 0 < memory.total("cpu") <= psutil.virtual_memory().total
