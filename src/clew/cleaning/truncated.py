"""Written answers that break off, as where the limit of new tokens was reached.

"The patient denies chest pain and"      ends in `and`
"Take it twice a day. If the rash gets"  ends without a full stop, unlike the sentences before
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from clew.cleaning.finding import Context, Finding, Findings

if TYPE_CHECKING:
    from clew.cleaning.store import Rows
    from clew.params_clean import TruncatedRule

FUNCTION_WORDS = re.compile(
    "an?|the|and|n?or|but|of|from|as|into|onto|than|whose|because|although|if|when|while|being|having|their|its|my|your|our"
)
"""Words that hardly any English sentence ends in …"""
SELDOM = re.compile(
    "is|are|was|were|be|been|has|have|had|can|could|will|would|should|may|might|must|not|his|by|for|that|to|with|at|"
    "who|which|very"
)
"""… and words that few do (`yes, I was`): these count at the end of a long sentence only."""
LONG = 8
"""Words of the last sentence, from which on it is no heading, signature or note."""

BREAK = re.compile(r".*(?:[,:、，：&(]|(?:\s|[^\W\d_]{3})[-–—])", re.DOTALL)
CLOSING = re.compile(r"[.!?…;。！？।॥۔։؟٪)\]}>\"”’'»」』`|%°*_~\d\U0001f000-\U0001faff☀-➿]")
"""What an answer may end in: closing signs, brackets, quotation marks, code, tables, numbers, emoji."""
SENTENCE_END = re.compile(
    r"[.!?](?<!\bDr.)(?<!\bMr.)(?<!\bMs.)(?<!\bMrs.)(?<!\bSt.)(?<!\bLt.)(?<!\bProf.)(?<!\bNo.)(?<!\bvs.)(?<!\b[A-Z].)"
    r"['\"”’)]*\s+(?=[A-Z\"“(])"
)
"""Not after a title or an initial."""
CODE = re.compile(r".*[=;{}\\]|.*https?://|\s{4}|\t|\|")
"""Lines of code, formulas and tables, and those with an address."""
LIST = re.compile(r"\s*(?:[-*+•·–#>]|\d+[.)]\s|[A-Za-z][.)]\s)")
"""Points of lists, headings and quotations."""
FENCE = re.compile(r"^\s*```", re.MULTILINE)
PAIRS = {"(": ")", "[": "]", "{": "}", "“": "”", "«": "»"}
CLOSED = 0.8
"""Where at least this share of a task's answers end in a closing sign, one that does not breaks off …"""
OPEN = 0.5
"""… and where fewer than this share do, a missing full stop says nothing."""
MIN_ANSWERS = 20
"""So many answers tell what is usual in a task, of …"""
MIN_WORDS = 4
"""… so many words or more."""
TAIL = 2_000
"""Characters from the end that are looked at for brackets."""


def find(rows: Rows, rule: TruncatedRule, context: Context) -> Findings:  # noqa: ARG001 - a rule's form
    """Rows with a written answer that breaks off; detail says how it ends.

    figures: by task, the share of answers of MIN_WORDS or more that end in a closing sign (`closed`) and their number.
    """
    figures = _habits(rows)
    usual = {task: _usual(habit["closed"]) for task, habit in figures.items() if habit["n"] >= MIN_ANSWERS}
    found = {}
    for position, task, answer in _answers(rows):
        if detail := how_it_breaks_off(answer, usual.get(task)):
            found[position] = Finding(rule.action, detail=detail)
    return Findings(found, figures=figures)


def _answers(rows: Rows) -> Iterator[tuple[int, str, str]]:
    """Position, task and answer of the rows with a written one."""
    for start, batch in rows.batches(["choices", "completion", "task"]):
        some = np.flatnonzero(pc.and_(batch["choices"].is_null(), batch["completion"].is_valid()))
        tasks, answers = (batch[name].take(some).to_pylist() for name in ("task", "completion"))
        yield from zip((start + some).tolist(), tasks, answers, strict=True)


def _habits(rows: Rows) -> dict[str, dict[str, float]]:
    """task → how many of its longer answers end in a closing sign."""
    closed: Counter[str] = Counter()
    long: Counter[str] = Counter()
    for _, task, answer in _answers(rows):
        is_long = _is_long(answer)
        long[task] += is_long
        closed[task] += is_long and bool(CLOSING.match(answer.rstrip()[-1]))
    return {task: {"closed": closed[task] / max(1, n), "n": n} for task, n in sorted(long.items())}


def _is_long(answer: str) -> bool:
    return len(answer.split(maxsplit=MIN_WORDS - 1)) == MIN_WORDS


def _usual(closed: float) -> bool | None:
    if closed >= CLOSED:
        return True
    return False if closed < OPEN else None


def how_it_breaks_off(answer: str, others_close: bool | None) -> str | None:
    """In a few words; None where the answer seems whole.

    others_close: whether the task's answers end in closing signs; None where some do and some do not.

    >>> how_it_breaks_off("The patient denies chest pain and", None)
    'ends in a function word'
    >>> how_it_breaks_off("Penicillin", True)
    """
    answer = answer.rstrip()
    if not answer or " " not in answer:
        return None
    if "```" in answer and len(FENCE.findall(answer)) % 2:
        return "an open code block"
    last_line = answer[answer.rfind("\n") + 1 :]
    if BREAK.fullmatch(answer[-4:]) and not last_line.startswith(("|", "-", "–", "—")):
        return "ends in a comma, colon or dash"
    if CLOSING.match(answer[-1]) or CODE.match(last_line):
        return None
    sentence = SENTENCE_END.split(last_line)[-1]
    words = sentence.split()
    if FUNCTION_WORDS.fullmatch(words[-1]) or (len(words) >= LONG and SELDOM.fullmatch(words[-1])):
        return "ends in a function word"
    if open_bracket := _open_bracket(answer[-TAIL:]):
        return f"an open {open_bracket}"
    if "\n" in answer and LIST.match(last_line):
        return None
    if others_close is False:
        return None
    begun = len(sentence) < len(last_line) or (len(words) >= LONG and SENTENCE_END.search(answer))
    if begun or (others_close and _is_long(answer)):
        return "ends without a full stop"
    return None


def _open_bracket(text: str) -> str | None:
    """The bracket or quotation mark that opens last and is not closed."""
    for opening, closing in PAIRS.items():
        if text.rfind(opening) > text.rfind(closing):
            return opening
    return None
