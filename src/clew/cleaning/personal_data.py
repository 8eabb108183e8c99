"""Personal data: what has a form by rules (clew/identifiers.py), names and places by your own recogniser (names.py).

    "Ask Ann (ann@example.org)"  →  "Ask <PERSON> (<EMAIL_ADDRESS>)"

What was found never leaves this module but as kinds and counts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from clew import identifiers
from clew.cleaning.finding import TEXTS, Context, Finding, Findings
from clew.identifiers import Span, settled

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from clew.params_clean import PersonalDataRule

READ = (*TEXTS, "beside")
"""Where it is looked for. What `beside` (the prompt) only says again is counted once."""


def find(rows: pa.Table, rule: PersonalDataRule, context: Context) -> Findings:  # noqa: ARG001 - a rule's form
    """Rows with personal data in a text, an answer or the prompt. Answers that are choices are left as they are.

    score: of the surest piece, below the threshold, too; NaN where there is none. detail: kinds and counts. start and
    end mark the first piece in `text`. A fix masks all texts of the row; a row of tagged words cannot be masked without
    its tags, and goes to review. figures: rows by kind.
    """
    scores = np.full(len(rows), np.nan, dtype=np.float32)
    found: dict[int, Finding] = {}
    figures: Counter[str] = Counter()
    some = _suspects(rows, rule)
    columns = [*READ, "choices", "tokens"]
    candidates = rows.select(columns).take(some).to_pylist()
    texts = [
        [text if (text := row[name]) and text not in (row["choices"] or ()) else "" for name in READ]
        for row in candidates
    ]
    for position, row, written, spans in zip(some.tolist(), candidates, texts, _spans(texts, rule), strict=True):
        if not any(spans):
            continue
        scores[position] = max(span.score for of_text in spans for span in of_text)
        sure = [settled(of_text, rule.threshold) for of_text in spans]
        values, counts = _told(written, sure)
        if not counts:
            continue
        figures.update(counts.keys())
        mend = partial(masked, values=values, choices=frozenset(row["choices"] or ()), rule=rule)
        action = "review" if rule.action == "fix" and row["tokens"] is not None else rule.action
        found[position] = Finding(
            action,
            score=float(scores[position]),
            threshold=rule.threshold,
            detail=", ".join(f"{count} × {kind}" for kind, count in sorted(counts.items())),
            start=sure[0][0].start if sure[0] else None,
            end=sure[0][0].end if sure[0] else None,
            mend=mend if action == "fix" else None,
        )
    return Findings(found, scores, figures=dict(sorted(figures.items())))


def _told(written: Sequence[str], sure: Sequence[Sequence[Span]]) -> tuple[dict[str, str], Counter[str]]:
    """value → kind, and how often each kind stands in the texts of a row (READ)."""
    values: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for name, text, of_text in zip(READ, written, sure, strict=True):
        before = frozenset(values) if name == "beside" else frozenset()
        for span in of_text:
            value = text[span.start : span.end]
            values[value] = span.kind
            counts[span.kind] += value not in before
    return values, counts


def _forms(rule: PersonalDataRule) -> list[str]:
    return [kind for kind in identifiers.KINDS if kind in rule.entities]


def _suspects(rows: pa.Table, rule: PersonalDataRule) -> NDArray[np.int64]:
    """Positions of rows that may hold some: cheaply, unless a recogniser is to read all."""
    if rule.recogniser:
        return np.arange(len(rows))
    pattern = identifiers.hint(_forms(rule))
    masks = [
        pc.fill_null(pc.match_substring_regex(rows[name], pattern), False).to_numpy(zero_copy_only=False)
        for name in READ
    ]
    return np.flatnonzero(np.logical_or.reduce(masks))


def _spans(texts: Sequence[Sequence[str]], rule: PersonalDataRule) -> list[list[list[Span]]]:
    """row → text → all pieces."""
    forms = _forms(rule)
    spans = [[identifiers.spans(text, forms, rule.region) for text in of_row] for of_row in texts]
    if rule.recogniser:
        from clew.cleaning import names

        flat = [text for of_row in texts for text in of_row]
        told = iter(names.spans(flat, rule.recogniser, [kind for kind in rule.entities if kind not in forms]))
        spans = [[of_text + next(told) for of_text in of_row] for of_row in spans]
    return spans


def masked(text: str, values: Mapping[str, str], choices: Collection[str], rule: PersonalDataRule) -> str:
    """A text of the row without the values that its texts hold (value → kind), nor what else has such a form."""
    if text in choices:
        return text
    text = identifiers.masked(text, _said(text, values))
    return identifiers.masked(text, settled(identifiers.spans(text, _forms(rule), rule.region), rule.threshold))


WORD = re.compile(r"\w")
HEAD = re.compile(r"(?<!\w)(?:\w+|\W)", re.DOTALL)
"""What a value begins with, which ends where a word does."""


def _said(text: str, values: Mapping[str, str]) -> list[Span]:
    """Where values stand as words of their own, the longest first; in time linear in the text."""
    lengths: dict[str, set[int]] = {}
    for value in values:
        if head := HEAD.match(value):
            lengths.setdefault(head[0], set()).add(len(value))
    found: list[Span] = []
    for head in HEAD.finditer(text) if lengths else ():
        start = head.start()
        if head[0] not in lengths or (found and start < found[-1].end):
            continue
        ends = (start + length for length in sorted(lengths[head[0]], reverse=True))
        end = next((end for end in ends if text[start:end] in values and not WORD.match(text, end)), None)
        if end is not None:
            found.append(Span(values[text[start:end]], start, end, identifiers.SURE))
    return found
