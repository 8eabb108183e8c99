"""Warnings are of what is unusual, by method, and stop nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clew import params
from clew.training import advice
from examples import tiny_model

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "params.yaml").read_text()
FULL = {"method": "full"}
PROMPT = {"method": "prompt", "prompt": {"tokens": 3, "text": None}, "merge": False}


@pytest.mark.parametrize(
    ("changes", "low", "high"), [(FULL, 1e-5, 5e-5), ({}, 1e-4, 1e-3), ({"method": "qlora"}, 1e-4, 1e-3)], ids=str
)
def test_a_learning_rate_outside_its_methods_range_is_told(changes: dict[str, Any], low: float, high: float) -> None:
    def told(rate: float) -> list[tuple[str, str]]:
        return advice.warnings(tiny_model.sft_params(**changes, learning_rate=rate), "sft")

    assert told(low) == told(high) == []
    for rate in (0.9 * low, 1.1 * high):
        [(key, text)] = told(rate)
        assert key == "learning_rate"
        assert f"{rate:g} is outside {low:g} to {high:g}" in text
        assert "et al." in text, "no source"


def test_a_prompt_wants_another_rate_and_preferences_a_lower_one() -> None:
    assert advice.warnings(tiny_model.sft_params(**PROMPT, learning_rate=0.3), "sft") == []
    assert advice.warnings(tiny_model.align_params(**FULL, learning_rate=1e-6), "align") == []
    assert advice.warnings(tiny_model.align_params(**FULL, learning_rate=2e-5), "align")


def test_nothing_is_said_of_optimizers_without_a_usual_rate() -> None:
    assert advice.warnings(tiny_model.sft_params(optimizer="sgd", learning_rate=1.0), "sft") == []


def test_every_method_has_a_range() -> None:
    for ranges in advice.RANGES.values():
        assert set(ranges) == set(params.Sft.model_fields["method"].annotation.__args__)


def test_check_prints_the_warning_with_its_line_and_ends_well(tmp_path: Path) -> None:
    text = TEXT.replace("learning_rate: 1.0e-3", "learning_rate: 1.0e-1")
    (tmp_path / "params.yaml").write_text(text)
    line = next(number for number, content in enumerate(text.splitlines(), 1) if "learning_rate: 1.0e-1" in content)
    command = [sys.executable, "-m", "clew", "params", "check"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "params.yaml: fine\n"
    assert done.stderr.startswith(f"params.yaml:{line}: sft.learning_rate: warning: 0.1 is outside 0.0001 to 0.001")
    assert len(done.stderr.splitlines()) == 1


def test_the_default_experiment_has_nothing_unusual() -> None:
    assert params.warnings(params.load(ROOT / "params.yaml"), ROOT / "params.yaml") == []


def test_of_what_is_switched_off_nothing_is_said(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(TEXT.replace("learning_rate: 3.0e-4", "learning_rate: 3.0"))
    assert len(params.warnings(params.load(file), file)) == 1
    before, _, after = file.read_text().partition("\nalign:")
    file.write_text(before + "\nalign:" + after.replace("enabled: true", "enabled: false", 1))
    assert params.warnings(params.load(file), file) == []
