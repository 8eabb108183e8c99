"""Written answers that refuse or are boiler-plate of a chat model, told by phrases.

The phrases are those that published cleaners of instruction data look for, without the words that sound answers need
(`ethical`, `harmful`, `It is important to`): the list of ShareGPT_Vicuna_unfiltered, which garak's `mitigation`
detector took over; the refusal prefixes of GCG (Zou et al. 2023, arXiv:2307.15043); the knowledge cut-offs that
`filter_cutoff_date.py` of allenai/open-instruct takes out; empty answers as in AlpacaDataCleaned.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from clew.cleaning.finding import Context, Finding, Findings

if TYPE_CHECKING:
    import pyarrow as pa

    from clew.params_clean import RefusalRule

OPENING = 150
"""Characters: a phrase counts where it begins within these …"""
SHORT = 300
"""… or anywhere in an answer of at most so many."""

_AI = "(?:ai|artificial intelligence|(?:large )?language model)"
_SORRY = (
    "(?:i(?:['’]m| am)(?: really| very| so| truly)? (?:sorry|afraid)|sorry|i apologi[sz]e|my apologies|unfortunately),?"
)
_CANNOT = "i ?(?:can(?:['’]t|not| not)|won['’]t|will not|(?:['’]m|am) (?:not able|unable) to)"
_DO = "(?:answer|assist|comply|complete|create|discuss|engage|fulfil|generate|give|help|offer|provide|support|write)"
_GOODS = "(?:information|guidance|help|instructions|(?:medical |legal )?advice|assistance|support)"
_RULES = "(?:programming|(?:ethical )?guidelines|principles|(?:content |use.case )?polic(?:y|ies))"
PHRASES = (
    # says that it is a model
    rf"\bas an? (?:text-based )?{_AI}\b",
    rf"\bi(?:['’]m| am) (?:just |only |merely )?an? {_AI}\b",
    # refuses
    rf"\b{_SORRY} (?:but )?(?:as an ai\b|{_CANNOT} {_DO})",
    rf"\b{_CANNOT} (?:fulfil|comply with|assist (?:you )?with|help (?:you )?with|engage in)",
    rf"\b{_CANNOT} (?:suggest or |offer or )?(?:provide|offer|give) (?:you )?(?:with )?(?:any |the )?{_GOODS}",
    r"\bi (?:must|have to) (?:respectfully |politely )?(?:decline|refuse to)\b",
    rf"\b(?:against|violates?) (?:my|openai['’]s) {_RULES}",
    r"\bmy (?:programming|guidelines) (?:prohibits?|prevents?|do(?:es)? not allow|do(?:es)?n['’]t allow)",
    # says what it lacks
    r"\b(?:as of|until|since) my (?:last|latest|most recent) (?:knowledge )?update",
    r"\bmy (?:knowledge|training)(?: data)? (?:cut-?off|was last updated)",
    r"\bi (?:do not|don['’]t) have (?:personal (?:opinions|beliefs|feelings|experiences|preferences)\b|real-time\b)",
    r"\bi (?:do not|don['’]t) have access to (?:real-time|the internet|current)",
    # stands where an answer should
    r"^\W*(?:no ?(?:output|input|answer)|n/?a|(?:insert|your) (?:answer|text|response) here)\W*$",
)


def find(rows: pa.Table, rule: RefusalRule, context: Context) -> Findings:  # noqa: ARG001 - a rule's form
    """Rows with a written answer in whose opening stands one of PHRASES or `rule.phrases`, not in quotation marks.

    detail is the phrase. A quotation, or a phrase far into a long answer, is none.
    """
    patterns = [*PHRASES, *(re.escape(phrase) for phrase in rule.phrases)]
    suspect = pc.match_substring_regex(rows["completion"], "|".join(patterns), ignore_case=True)
    written = pc.and_(pc.fill_null(suspect, False), rows["choices"].is_null())
    some = np.flatnonzero(written.to_numpy(zero_copy_only=False))
    anywhere = re.compile("|".join(patterns), re.IGNORECASE)
    found = {}
    for position, answer in zip(some.tolist(), rows["completion"].take(some).to_pylist(), strict=True):
        if (phrase := refusing_phrase(answer, anywhere)) is not None:
            found[position] = Finding(rule.action, detail=f"says `{phrase[:60]}`")
    return Findings(found)


def refusing_phrase(answer: str, phrases: re.Pattern[str]) -> str | None:
    """The first phrase that counts, in small letters; None where there is none."""
    answer = answer.strip()
    last = len(answer) if len(answer) <= SHORT else OPENING
    for match in phrases.finditer(answer):
        if match.start() > last:
            return None
        if not _is_quoted(answer, match.start()):
            return match[0].lower().strip()
    return None


QUOTES = {'"': '"', "“": "”", "«": "»", "`": "`"}


def _is_quoted(answer: str, position: int) -> bool:
    """Whether a quotation that began within the answer (not with it) is open at `position`."""
    before = answer[1:position]
    return any(_is_open(before, opening, closing) for opening, closing in QUOTES.items())


def _is_open(before: str, opening: str, closing: str) -> bool:
    if opening == closing:
        return before.count(opening) % 2 == 1
    return before.count(opening) > before.count(closing)
