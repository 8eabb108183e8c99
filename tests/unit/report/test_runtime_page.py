"""The record of machines: complete, in order, and not believed when its files are others."""

from pathlib import Path

import pytest

from clew import io, paths
from clew.report import runtime

RECORD = {
    "stage": "sft",
    "started": "2026-01-01T00:00:00+00:00",
    "seconds": 164.2,
    "peak_memory_bytes": 5_123_416_064,
    "hardware": {"cpu": "A <fast> CPU", "cores": 2, "memory_bytes": 16e9, "gpu": None},
    "versions": {"torch": "2.13.0"},
    "not_as_locked": {"numpy": "2.4.1, not 2.4.0"},
    "facts": {"name": "cpu"},
    "outs": {},
}


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(**changes):
    record = RECORD | changes
    io.write_json(paths.RUNTIME / f"{record['stage']}.json", record)


def test_records_come_in_the_order_of_the_pipeline():
    for stage in ("predict@sft", "sft", "report", "own_stage", "fetch_data", "predict@base"):
        write(stage=stage)
    stages = [record["stage"] for record in runtime.read()]
    assert stages == ["fetch_data", "sft", "predict@base", "predict@sft", "own_stage"]


def test_what_a_stage_took_is_shown():
    write(facts={"name": "cpu", "seconds_per_example": {"exam": {"value": 0.12, "low": 0.11, "high": 0.14}}})
    html = runtime.render(runtime.read(), "Title", {})
    for text in ("2\u202fmin 44\u202fs", "5.1\u202fGB", "A &lt;fast&gt; CPU, 2 cores", "torch 2.13.0", "0.11 to 0.14"):
        assert text in html
    assert "numpy 2.4.1, not 2.4.0" in html


def test_a_record_of_other_files_is_marked():
    """The digest of what lies there now decides, whether known or computed."""
    Path("made").write_text("now")
    digest = io.sha256(Path("made"))
    for known in ({}, {"made": digest}):
        assert "of other files" not in runtime.render([RECORD | {"outs": {"made": digest}}], "T", known)
        assert "of other files" in runtime.render([RECORD | {"outs": {"made": "0" * 64}}], "T", known)
    assert "of other files" in runtime.render([RECORD | {"outs": {"gone": digest}}], "T", {})


def test_without_records_the_page_says_so():
    assert runtime.read() == []
    assert "No stage has left a record." in runtime.render([], "T", {})


def test_a_record_with_little_in_it_is_shown():
    """Records of older versions may lack fields."""
    assert "<code>sft</code>" in runtime.render([{"stage": "sft"}], "T", {})
