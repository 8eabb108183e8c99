"""What training measured of itself on both sides. Its rows are not kept, so there is no paired test: told, not judged.

metrics/reward.json:held_out.brier.value 0.24 → 0.2   →   ("reward: held_out.brier", "0.24", "0.2", "lower is better")
"""

from __future__ import annotations

from clew import paths
from clew.history import names
from clew.history.compare import words
from clew.history.compare.model import Side

CHIEF = {
    paths.SFT_METRICS: ["valid_loss.best"],
    paths.REWARD_METRICS: [
        *(f"held_out.{name}.value" for name in ("accuracy", "margin", "brier")),
        "held_out.calibration_error",
    ],
    paths.ALIGN_METRICS: [
        *(f"held_out.{name}.value" for name in ("preference_accuracy.aligned", "win_rate", "reward.aligned")),
        *("reward.last", "kl.last"),
    ],
}
"""The numbers that are told: how each trainer did on rows that it had not seen, and how far rewards and KL went."""
FULL = {f"{path.as_posix()}:{name}": f"{path.stem}: {name}" for path, found in CHIEF.items() for name in found}


def changes(side: Side) -> list[tuple[str, str, str, str]]:
    """(name, before, after, which way is better) of those that differ; a side that has none has "–"."""
    found = {param.name: words.sides(param) for param in side.others if param.name in FULL}
    return [(told.removesuffix(".value"), *found[full], better(full)) for full, told in FULL.items() if full in found]


def better(name: str) -> str:
    """Which way a number is better."""
    cost = names.cost(name)
    return "lower is better" if cost(1.0) > cost(0.0) else "higher is better"
