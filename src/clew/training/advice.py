"""Values of params.yaml that are allowed and yet likely a mistake: told by `clew params check` and by the stage.

Ranges of learning rates are what the authors of each method used for Adam and its kin; other optimizers have none here.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clew import params

ADAMS = ("adamw", "adam", "adamw_8bit", "paged_adamw_8bit")
ADAPTERS = (1e-4, 1e-3, "Hu et al. (2021) and Dettmers et al. (2023) took 1e-4 to 5e-4")
FINE_TUNING = {
    "full": (1e-5, 5e-5, "Devlin et al. (2019) took 2e-5 to 5e-5"),
    "lora": ADAPTERS,
    "qlora": ADAPTERS,
    "ia3": (1e-3, 1e-2, "Liu et al. (2022) took 3e-3"),
    "prompt": (1e-3, 0.5, "Lester et al. (2021) took 0.3"),
    "prefix": (5e-5, 2e-2, "Li and Liang (2021) took 5e-5, PEFT's examples 1e-2"),
}
PREFERENCES = FINE_TUNING | {
    "full": (1e-7, 5e-6, "Tunstall et al. (2023) took 5e-7, Rafailov et al. (2023) 1e-6"),
    "lora": (5e-6, 5e-4, "preferences take ten times as much for adapters as for full training, and less than sft"),
}
PREFERENCES["qlora"] = PREFERENCES["lora"]
RANGES = {"sft": FINE_TUNING, "align": PREFERENCES}


def warnings(section: params.Optimisation, title: str) -> list[tuple[str, str]]:
    """(key, what is unusual about it) of a section that trains; title: its name."""
    if section.optimizer not in ADAMS:
        return []
    low, high, source = RANGES.get(title, FINE_TUNING)[section.method]
    if low <= section.learning_rate <= high:
        return []
    text = f"{section.learning_rate:g} is outside {low:g} to {high:g}, which is usual for {section.method}: {source}"
    return [("learning_rate", text)]


def tell(section: params.Optimisation, title: str) -> None:
    """Print the warnings of a section on stderr, a line each."""
    for key, text in warnings(section, title):
        print(f"clew: warning: {title}.{key}: {text}", file=sys.stderr)
