"""Texts far from what the model is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clew.cleaning.features import embed
from clew.cleaning.finding import Context, Findings, below, positions
from clew.cleaning.store import Texts

if TYPE_CHECKING:
    from clew.cleaning.store import Rows
    from clew.params_clean import RelevanceRule


def find(rows: Rows, rule: RelevanceRule, context: Context) -> Findings:
    """Rows of `rule.tasks` whose text's cosine to the nearest of the objective's texts is below the threshold.

    score is that cosine; the objective's texts are its description and its examples.
    """
    assert context.objective is not None  # noqa: S101 - params_checks holds it
    aims = (context.objective.description, *context.objective.examples)
    some = positions(rows, rule.tasks)
    vectors = embed([*aims, *Texts(rows, "text", some)], context.features, context.seed)
    scores = np.full(len(rows), np.nan, dtype=np.float32)
    scores[some] = (vectors[len(aims) :] @ vectors[: len(aims)].T).max(axis=1)
    return Findings(below(scores, rule.threshold, rule.action), scores)
