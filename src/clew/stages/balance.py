"""balance: how the training labels are shared out between groups, and weights that even them out.

Reads data/augmented.parquet. Writes data/train.parquet (the same rows, `weight` multiplied), the ledger, and
metrics/data_bias.json: task → attribute → before, after (measure → {value}) and n (group → label → rows).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from clew import io, ledger, paths, rows
from clew.fairness import groups, reweighing
from clew.fairness.toolkit import Array

if TYPE_CHECKING:
    from clew import params

STAGE = "balance"


def run(balance: params.Balance) -> dict[str, Any]:
    """Measure, reweigh in the order of the audits, and measure again when all of them are done."""
    train = rows.read(paths.AUGMENTED)
    before = np.array([row["weight"] for row in train], dtype=np.float64)
    audits = [
        reweighing.audited(audit, train, where=f"params.yaml: balance.audits[{index}]")
        for index, audit in enumerate(balance.audits)
    ]
    after = before
    for ours in audits if balance.reweigh else []:
        after = reweighing.reweigh(ours, after)

    io.write_json(paths.DATA_BIAS, _measures(audits, before, after))
    changed = [row | {"weight": float(weight)} for row, weight in zip(train, after, strict=True)]
    rows.write(paths.TRAIN, changed)
    entries = [_entry(old, new) for old, new in zip(train, changed, strict=True)]
    ledger.write(STAGE, entries, rows_in=len(train), rows_out=len(changed))
    return {}


def _measures(audits: list[reweighing.Audited], before: Array, after: Array) -> dict[str, Any]:
    """The content of metrics/data_bias.json; `before` and `after` are the weights of all rows, shape (n,)."""
    found: dict[str, Any] = {}
    for ours in audits:
        found.setdefault(ours.audit.task, {})[ours.audit.attribute] = {
            "before": reweighing.bias(ours, before),
            "after": reweighing.bias(ours, after),
            "n": reweighing.sizes(ours),
            "audit": groups.described(ours.audit),
        }
    return found


def _entry(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    if old["weight"] == new["weight"]:
        return ledger.entry(old, STAGE, "kept")
    detail = f"weight {old['weight']:.6g} before"
    return ledger.entry(old, STAGE, "changed", "reweighing", score=new["weight"], detail=detail)
