"""What a user can mend is an error of ours: one line that says what, where, and what to do.

ClewError
├── ParamsError   params.yaml: unknown, missing or wrong values (all of them at once)
├── SourceError   a source that cannot be reached or is not what was declared
├── DataError     rows that do not fit, empty splits, one class only, empty groups
├── ModelError    a model or tokenizer that cannot be used
├── SetupError    git, DVC, disk, device
└── HistoryError  revisions, artifacts and numbers that the history does not have
"""

from __future__ import annotations

import functools
from typing import Any


class ClewError(Exception):
    """An error that the user can mend; printed at one boundary, without a traceback.

    what:  what is wrong, as a sentence without a full stop.
    where: the file, line, param or row that it is about.
    fix:   what to do.
    """

    def __init__(self, what: str, *, where: str, fix: str) -> None:
        super().__init__(what, where, fix)
        self.what, self.where, self.fix = what, where, fix

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(type(self), self.what, where=self.where, fix=self.fix), ()

    def __str__(self) -> str:
        if "\n" in self.what:
            return f"{self.where}\n{self.what}\n{self.fix}"
        return f"{self.where}: {self.what}. {self.fix}"


class ParamsError(ClewError):
    """params.yaml does not fit its schema."""


class SourceError(ClewError):
    """A source cannot be reached, or is not what params.yaml declares."""


class DataError(ClewError):
    """Rows that a stage cannot work with."""


class ModelError(ClewError):
    """A model or tokenizer that a stage cannot work with."""


class SetupError(ClewError):
    """Git, DVC, the disk or the device is not as clew needs it."""


class HistoryError(ClewError):
    """A revision, an artifact or a number that the history does not have."""
