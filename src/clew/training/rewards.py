"""Rewards of an answer: what a reward model says, what functions here say, and what a file of the user's says.

    scores = make(terms, …)[0](["Rest a lot."], [row])   →  [1.0]

A user's function takes the answers and their rows (as `clew.rows` has them), and returns a number for each, or None
where it has nothing to say:

    def short(completions, rows):
        return [float(len(completion) < 80) for completion in completions]
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from clew import paths
from clew.errors import DataError, ParamsError
from clew.rows import normalise

if TYPE_CHECKING:
    from clew import params_training as params

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """An answer that was drawn: its row, its text, and the tokens of prompt and answer."""

    row: Row
    text: str
    tokens: Sequence[int]


Score = Callable[[Sequence[Answer]], list[float | None]]


def make(terms: Sequence[params.RewardTerm], judge: Score | None) -> list[tuple[str, float, Score]]:
    """(name, weight, score) of each term, in order. judge: the reward model's score; not None where a term wants it.

    Raises ParamsError for a file or a function that is not there.
    """
    found: list[tuple[str, float, Score]] = []
    for place, term in enumerate(terms):
        name = f"{term.kind}_{place}" if sum(other.kind == term.kind for other in terms) > 1 else term.kind
        found.append((name, term.weight, _score(term, judge)))
    return found


def _score(term: params.RewardTerm, judge: Score | None) -> Score:
    if term.kind == "model":
        return cast("Score", judge)
    if term.kind == "file":
        return from_file(paths.REWARDS / term.file, term.function)
    if term.kind == "right":
        return lambda answers: [right(answer.text, answer.row) for answer in answers]
    if term.kind == "length":
        most = term.words
        return lambda answers: [length(answer.text, most) for answer in answers]
    if term.kind == "format":
        pattern = re.compile(term.pattern)
        return lambda answers: [float(bool(pattern.fullmatch(answer.text.strip()))) for answer in answers]
    n = term.ngram
    return lambda answers: [repetition(answer.text.split(), n) for answer in answers]


def right(text: str, row: Row) -> float | None:
    """1 where the answer is the row's completion (as `rows.normalise` has it), else 0; None where the row has none.

    >>> right("Yes.", {"completion": "yes"}), right("No", {"completion": "yes"})
    (1.0, 0.0)
    """
    wanted = row["completion"]
    return None if wanted is None else float(normalise(text) == normalise(wanted))


def length(text: str, most: int) -> float:
    """1 up to `most` words, beyond them `most` by the words there are.

    >>> length("one two", 2), length("one two three four", 2)
    (1.0, 0.5)
    """
    return min(1.0, most / max(1, len(text.split())))


def repetition(units: Sequence[Any], n: int) -> float:
    """The share of the n-grams of an answer that came before in it: 0 where it has fewer than two.

    >>> repetition("a b a b".split(), 2)
    0.3333333333333333
    """
    grams = list(zip(*(units[offset:] for offset in range(n)), strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def from_file(path: Path, name: str) -> Score:
    """The function `name` of a Python file of the user's; ParamsError where either is not there."""
    import runpy

    if not path.is_file():
        there = sorted(file.relative_to(paths.REWARDS).as_posix() for file in paths.REWARDS.rglob("*.py"))
        raise ParamsError(
            f"{path} does not exist", where="align", fix=f"rewards/ holds: {', '.join(there) or 'no .py file'}."
        )
    try:
        names = runpy.run_path(str(path))
    except Exception as error:  # a program of the user's: it can raise anything
        raise _failed(path, name, error) from error
    function = names.get(name)
    if not callable(function):
        there = sorted(one for one, value in names.items() if callable(value) and not one.startswith("_"))
        raise ParamsError(
            f"{path} has no function `{name}`", where="align", fix=f"It has: {', '.join(there) or 'none'}."
        )

    def score(answers: Sequence[Answer]) -> list[float | None]:
        try:
            scores = list(function([answer.text for answer in answers], [dict(answer.row) for answer in answers]))
            found = [None if value is None else float(value) for value in scores]
        except Exception as error:
            raise _failed(path, name, error) from error
        if len(found) != len(answers):
            raise _wrong(path, name, f"gave {len(found)} numbers for {len(answers)} answers")
        if any(value is not None and not math.isfinite(value) for value in found):
            raise _wrong(path, name, "gave a number that is not finite")
        return found

    return score


def _failed(path: Path, name: str, error: Exception) -> DataError:
    line = next((frame[1] for frame in reversed(_frames(error)) if frame[0] == str(path)), None)
    place = f"{path}:{line}" if line else str(path)
    return DataError(
        f"the reward function `{name}` failed: {type(error).__name__}: {error}", where=place, fix="Mend the function."
    )


def _frames(error: Exception) -> list[tuple[str, int | None]]:
    import traceback

    return [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]


def _wrong(path: Path, name: str, what: str) -> DataError:
    fix = "It takes the answers and their rows, and returns a number (or None) for each."
    return DataError(f"the reward function `{name}` {what}", where=str(path), fix=fix)
