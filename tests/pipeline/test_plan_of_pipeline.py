"""`clew plan` beside what DVC says and what the stages took, on a pipeline that has run."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import DVC, run

pytestmark = pytest.mark.slow


def _plan(folder: Path, *arguments: str) -> dict[str, Any]:
    told = run([sys.executable, "-m", "clew", "plan", *arguments, "--json"], folder).stdout
    found: dict[str, Any] = json.loads(told)
    return found


def test_the_estimated_peak_is_within_a_fifth_of_the_measured_one(tiny: Path) -> None:
    plan = _plan(tiny, "sft", "align")
    for stage in ("sft", "align"):
        record = json.loads((tiny / f"metrics/runtime/{stage}.json").read_text())
        metrics = json.loads((tiny / f"metrics/{stage}.json").read_text())
        told = plan["training"][stage]
        assert told["memory"]["peak"] == pytest.approx(record["peak_memory_bytes"], rel=0.2), stage
        assert told["exact"]
        assert told["steps"] == metrics["steps"]
        assert told["parameters"]["trained"] == metrics["parameters"]["trained"]
        assert told["seconds"] == pytest.approx(record["seconds"], rel=0.3), "from this very run"
    assert plan["training"]["sft"]["tokens"] == json.loads((tiny / "metrics/sft.json").read_text())["tokens_fed"]


def test_the_plan_agrees_with_dvc_status_edit_by_edit(tiny: Path, tmp_path: Path) -> None:
    here = tmp_path / "copy"
    shutil.copytree(tiny, here, symlinks=True)
    params, code = here / "params.yaml", here / "src/clew/training/dpo.py"
    before = params.read_text(), code.read_text()
    assert "rank: 8" in before[0]
    edits = {
        "nothing": lambda: None,
        "a param": lambda: params.write_text(before[0].replace("rank: 8", "rank: 4")),
        "code": lambda: code.write_text(before[1] + "\n# a comment\n"),
        "an out that is gone": lambda: shutil.rmtree(here / "models/sft"),
    }
    for name, edit in edits.items():
        edit()
        plan = _plan(here)
        status = json.loads(run([DVC, "status", "--json"], here).stdout)
        own = {one["name"] for one in plan["stages"] if any(r["kind"] != "upstream" for r in one["reasons"])}
        assert own == set(status), name
        params.write_text(before[0])
        code.write_text(before[1])
        told = {one["name"]: one for one in plan["stages"]}
        if name == "a param":
            reasons = [(r["what"], r["before"], r["after"]) for r in told["sft"]["reasons"] if r["kind"] == "param"]
            assert reasons == [("sft.lora.rank", 8, 4)]
            assert told["evaluate"]["fate"] == "runs"
            assert told["clean"]["fate"] == "kept"
        if name == "code":
            assert [r["what"] for r in told["align"]["reasons"] if r["kind"] == "code"] == ["src/clew/training/dpo.py"]
        if name == "an out that is gone":
            assert told["sft"]["fate"] == "restored"
            assert told["align"]["fate"] == "restored"
