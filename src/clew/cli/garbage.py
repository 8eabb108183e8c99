"""How often Python looks for garbage: what a short command's imports make is none, and looking takes an eighth of it.

On `clew compare` of two commits, 21 of 168 ms: 7 while it runs, 14 at its end.
"""

from __future__ import annotations

import atexit
import gc

RARELY = 100_000
"""New objects between two looks; with it a cold index of 1,000 commits takes no more memory than with Python's own."""
USUAL = gc.get_threshold()


def look_rarely() -> None:
    """For commands that read and answer: look rarely, and not at the end, where the process goes anyway."""
    gc.set_threshold(RARELY, *USUAL[1:])
    atexit.register(gc.freeze)


def look_as_usual() -> None:
    """For stages, whose garbage can hold a model's memory."""
    gc.set_threshold(*USUAL)
    atexit.unregister(gc.freeze)
