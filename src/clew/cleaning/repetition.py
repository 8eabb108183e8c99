"""Texts and answers that repeat themselves: the share of the words that stand in phrases that came before.

The measure is the duplicate n-gram fraction of Gopher (Rae et al. 2021, arXiv:2112.11446, table A1), which FineWeb's
filters use too: what stands in n-grams that occurred before, overlaps counted once. Here it is counted in words instead
of characters, with n = 4 instead of 5 to 10, since rows are shorter than web pages.

    "take one pill a day take one pill a day"   10 words, 5 of them repeated: .5
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow.compute as pc

from clew.cleaning.finding import Context, Finding, Findings
from clew.ledger import DIGITS
from clew.rows import question

if TYPE_CHECKING:
    import pyarrow as pa

    from clew.params_clean import RepetitionRule

WORDS = 4
CHARACTERS = 8
"""n of the n-grams of texts without spaces, such as Chinese ones: 4 words are about so long."""
UNSPACED = 20
"""So many characters a word on average say that words are not told apart by spaces."""


LOOKED_AT = 100_000
"""Characters of a text that are looked at: memory stays bounded where a row is a whole file."""


class Repeats(NamedTuple):
    """share: repeated words by all. first: where the first repeated phrase begins and ends, counted in words."""

    share: float
    first: tuple[int, int]


NONE = Repeats(0.0, (0, 0))


def find(rows: pa.Table, rule: RepetitionRule, context: Context) -> Findings:  # noqa: ARG001 - a rule's form
    """Rows whose text or written answer has more than `rule.threshold` of its words in repeated 4-grams.

    Options at the end of a question are not looked at, since they share words by nature; nor is the answer of tagged
    words, which names each entity. score is the larger share of the two; start and end mark the first phrase of `text`
    that came before.
    """
    found = {}
    scores = np.zeros(len(rows), dtype=np.float32)
    written = pc.and_(rows["choices"].is_null(), rows["tokens"].is_null()).to_pylist()  # lists of entities repeat
    texts, answers = rows["text"].to_pylist(), rows["completion"].to_pylist()
    options = rows["options"].to_pylist()
    for position, (text, answer, is_written) in enumerate(zip(texts, answers, written, strict=True)):
        asked = question(text or "", options[position]) if options[position] else None
        in_text = repeats(asked or text or "")
        in_answer = repeats(answer) if is_written and answer else NONE
        score = round(max(in_text.share, in_answer.share), DIGITS)
        scores[position] = score
        if score > rule.threshold:
            where = "text" if in_text.share >= in_answer.share else "answer"
            start, end = _characters(text, in_text.first) if in_text.share > rule.threshold else (None, None)
            detail = f"{score:.0%} of the {where} came before"
            found[position] = Finding(rule.action, score, rule.threshold, detail, start, end)
    return Findings(found, scores)


def repeats(text: str) -> Repeats:
    """The share of the words of `text` in 4-grams that came before. Case does not matter.

    >>> repeats("take one pill a day take one pill a day")
    Repeats(share=0.5, first=(5, 10))
    """
    text = text[:LOOKED_AT]
    units: Sequence[str] = text.lower().split()
    length = WORDS
    if len(text) > UNSPACED * len(units):
        units, length = "".join(text.split()), CHARACTERS
    grams = list(zip(*(units[offset:] for offset in range(length)), strict=False))
    if len(set(grams)) == len(grams):
        return NONE
    return _counted(grams, length, len(units))


def _counted(grams: Sequence[tuple[str, ...]], length: int, units: int) -> Repeats:
    seen = set()
    repeated, end = 0, 0
    first = None
    for start, gram in enumerate(grams):
        if gram not in seen:
            seen.add(gram)
            continue
        if first is None:
            first = (start, start + length)
        elif start <= first[1] == end:
            first = (first[0], start + length)
        repeated += start + length - max(start, end)
        end = start + length
    return Repeats(repeated / units, first or (0, 0))


def _characters(text: str, span: tuple[int, int]) -> tuple[int, int]:
    """From words (or characters that are no white space) to characters of the text."""
    text = text[:LOOKED_AT]
    pattern = r"\S" if len(text) > UNSPACED * len(text.split()) else r"\S+"
    places = [found.span() for found in re.finditer(pattern, text)]
    return places[span[0]][0], places[span[1] - 1][1]
