"""digests: what makes the data, the models and the software of this run recognisable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clew.report import words
from clew.report.experiment import LOCK, Experiment


def build(experiment: Experiment) -> Mapping[str, Any]:
    """What was declared for the sources, and what was found in the files."""
    p = experiment.params
    declared = [("base model", p["fetch_model"]["uri"], p["fetch_model"]["sha256"])]
    declared += [(name, source["uri"], source["sha256"]) for name, source in p["fetch_data"]["sources"].items()]
    made = [
        {
            "path": d.path,
            "rows": words.number(d.rows, "count") if d.rows is not None else "",
            "size": words.size(d.size),
            "sha256": d.sha256,
        }
        for d in experiment.digests
    ]
    return {
        "declared": declared,
        "made": made,
        "locked": any(d.path == LOCK.as_posix() for d in experiment.digests),
        "lock": LOCK.as_posix(),
        "row_key": p["prepare"]["row_key"],
    }
