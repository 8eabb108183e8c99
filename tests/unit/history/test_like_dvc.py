"""Differences of params and metrics are those that DVC's own commands print."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_params_and_metrics_differ_as_dvc_says(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import history
    import made_history

    made_history.make(tmp_path / "made", commits=30, branches=4)
    assert history.check_equality(tmp_path / "made", pairs=3).startswith("3 random pairs")
