"""Written answers that do not fit their question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from clew.cleaning.features import embed
from clew.cleaning.finding import Context, Findings, below, positions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clew.cleaning.store import Rows
    from clew.params_clean import MismatchRule


def find(rows: Rows, rule: MismatchRule, context: Context) -> Findings:
    """Rows of `rule.tasks` with a written answer whose cosine to the text is low, of all and in itself.

    score is that cosine. It is told of the lowest `share` of a task only: no threshold could flip the others.
    """
    scores = np.full(len(rows), np.nan, dtype=np.float32)
    figures: dict[str, Any] = {}
    for task in rule.tasks:
        some = positions(rows, (task,))
        pairs = rows.take(some, ["text", "completion", "choices"])
        written = pairs["choices"].is_null().to_numpy() & pairs["completion"].is_valid().to_numpy()
        some, pairs = some[written], pairs.filter(written)
        questions, answers = pairs["text"].fill_null("").to_pylist(), pairs["completion"].to_pylist()
        vectors = embed(questions + answers, context.features, context.seed)  # together: one vocabulary
        cosines = np.einsum("nd,nd->n", vectors[: len(some)], vectors[len(some) :])
        lowest = np.argsort(cosines, kind="stable")[: round(rule.share * len(some))]
        scores[some[lowest]] = cosines[lowest]
        figures[task] = {"n": len(some)} | _quantiles(cosines)
    return Findings(below(scores, rule.threshold, rule.action), scores, figures)


def _quantiles(cosines: NDArray[np.float32]) -> dict[str, float]:
    """What a threshold can be chosen by."""
    if not len(cosines):
        return {}
    low, middle = np.quantile(cosines, [0.05, 0.5]).tolist()
    return {"cosine_lowest_5_percent": low, "cosine_median": middle}
