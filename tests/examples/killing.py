"""A run that is killed as by SIGKILL, just after it has sealed a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clew.training import checkpoints


class Killed(BaseException):
    """Nothing catches it."""


@contextmanager
def killed(seals: int = 1) -> Iterator[None]:
    """What runs in the block must not outlive its `seals`-th checkpoint."""
    seal, count = checkpoints.seal, 0

    def kill(checkpoint: Path) -> None:
        nonlocal count
        seal(checkpoint)
        count += 1
        if count == seals:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "seal", kill)
        with pytest.raises(Killed):
            yield
