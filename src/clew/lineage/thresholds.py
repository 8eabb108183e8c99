"""The thresholds of cleaning rules: on which side of one a row is found, and what the stage last ran with.

THRESHOLDS["label_noise.threshold"] == "below": a row is found where its score is below the threshold
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clew.errors import DataError
from clew.ledger import rounded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOCK = Path("dvc.lock")
BELOW, ABOVE, FROM = "below", "above", "at least"
THRESHOLDS = {
    "length.min_words": BELOW,
    "length.max_words": ABOVE,
    "language.threshold": BELOW,
    "repetition.threshold": ABOVE,
    "personal_data.threshold": FROM,
    "toxicity.threshold": FROM,
    "near_duplicates.threshold": FROM,
    "relevance.threshold": BELOW,
    "mismatch.threshold": BELOW,
    "outliers.threshold": BELOW,
    "annotators.threshold": BELOW,
    "label_noise.threshold": BELOW,
    "token_labels.threshold": BELOW,
    "preferences.threshold": BELOW,
}
"""`rule.param` below `clean` → where a score is found."""


def are_found(scores: NDArray[Any], side: str, threshold: float) -> NDArray[np.bool_]:
    """(n,) whether rows of these scores are found; NaN never is."""
    import numpy as np

    compare = {BELOW: np.less, ABOVE: np.greater, FROM: np.greater_equal}[side]
    found: NDArray[np.bool_] = compare(rounded(scores), threshold)
    return found


def margin(score: float, side: str, threshold: float) -> float:
    """How far a score is from the threshold; positive where the row is found."""
    return threshold - score if side == BELOW else score - threshold


def of_last_run() -> Mapping[str, Any]:
    """The section `clean` that the stage last ran with, as dvc.lock has it; raises DataError where it has none."""
    from clew.history import blocks, lockfile

    try:
        stage = lockfile.read(LOCK.read_text(encoding="utf-8"))["clean"]
        section: Mapping[str, Any] = blocks.load(stage.params)["params.yaml"]["clean"]
        section["features"]
    except (KeyError, TypeError, OSError, ValueError, lockfile.LockError) as error:
        raise DataError(
            f"it does not tell what this version's clean was run with ({error})",
            where=str(LOCK),
            fix="Run `dvc repro clean` first.",
        ) from None
    return section
