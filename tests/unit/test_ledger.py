"""A ledger that does not account for every row is not written."""

from __future__ import annotations

from pathlib import Path

import pytest

from clew import ledger, paths

ROW = {"row_id": "1", "source": "s", "origin": {"file": "f", "record": 0}, "parent_ids": []}


def test_rows_in_are_rows_kept_and_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    entries = [
        ledger.entry(ROW, "clean", "kept"),
        ledger.entry(ROW, "clean", "dropped", "length", score=2, threshold=3),
        ledger.entry(ROW, "clean", "changed", "noise"),
    ]
    ledger.write("clean", entries, rows_in=3, rows_out=2)
    assert ledger.read("clean")[1]["score"] == 2.0
    for rows_in, rows_out in ((4, 2), (3, 3), (2, 2)):
        with pytest.raises(AssertionError, match="does not add up"):
            ledger.write("again", entries, rows_in=rows_in, rows_out=rows_out)
    assert not paths.ledger("again").exists()
