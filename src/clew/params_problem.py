"""A problem of params.yaml as checks tell it: where, and what is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clew.params import Params

Path = tuple[str | int, ...]
Problem = tuple[Path, str]
Check = Callable[["Params"], Iterable[Problem]]
"""Each asks for the sections that it needs; one that is wrong by itself ends it."""


def unknown(path: Path, name: str, valid: Sequence[str]) -> Iterator[Problem]:
    """A problem where a name is none of the valid ones."""
    if name in valid:
        return
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    hint = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(valid) or 'none'}"
    yield path, f"`{name}` is not declared; {hint}"


def is_within(file: str) -> bool:
    """Whether a path or glob stays within its folder."""
    path = PurePosixPath(file)
    return bool(file) and not path.is_absolute() and ".." not in path.parts
