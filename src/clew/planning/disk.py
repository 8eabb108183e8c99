"""What the stages that run will write: their outs twice, in the work tree and in DVC's cache, and checkpoints.

A model that is trained is as large as the one that it is trained from. Every other out is taken to be as large as the
last time, by dvc.lock; of a stage that never ran it is not known.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from clew.history.lockfile import Stage
from clew.planning.model import Model
from clew.planning.settings import Settings

KEPT = 3
"""Checkpoints at once: two are kept (`training.loop`), and the next is written before the oldest goes."""


class Disk(NamedTuple):
    """outs: path → bytes of what will be written. checkpoints: bytes at most at once. free: bytes. unknown: stages."""

    outs: dict[str, int]
    checkpoints: int
    free: int
    unknown: tuple[str, ...]

    @property
    def needed(self) -> int:
        """Outs in the work tree and in the cache, and checkpoints."""
        return 2 * sum(self.outs.values()) + self.checkpoints


def estimate(
    root: Path, running: Iterable[str], locked: Mapping[str, Stage], trained: Mapping[str, tuple[Model, Settings]]
) -> Disk:
    """running: names of stages. trained: of those that train the model that they start from, and the settings."""
    outs: dict[str, int] = {}
    unknown = []
    checkpoints = 0
    for name in running:
        if name in locked:
            outs |= {out.path: out.size or 0 for out in locked[name].outs}
        elif name not in trained:
            unknown.append(name)
        if name in trained:
            model, settings = trained[name]
            outs[f"models/{'aligned' if name == 'align' else name}"] = sum(model.files.values())
            checkpoints = max(checkpoints, KEPT * checkpoint(settings))
    return Disk(outs, checkpoints, shutil.disk_usage(root).free, tuple(unknown))


def checkpoint(settings: Settings) -> int:
    """Bytes of one: trained weights in float32, the optimizer's state, and the best weights so far."""
    return settings.trained * (4 + settings.state + 4)
