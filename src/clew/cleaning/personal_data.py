"""Personal data: what has a form by rules (clew/identifiers.py), names and places by your own recogniser (names.py).

    "Ask Ann (ann@example.org)"  →  "Ask <PERSON> (<EMAIL_ADDRESS>)"

What was found never leaves this module but as kinds and counts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from clew import identifiers
from clew.cleaning import messages
from clew.cleaning.finding import TEXTS, Context, Finding, Findings
from clew.identifiers import Span, settled
from clew.rows import UNSPACED

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from clew.cleaning.messages import Own
    from clew.params_clean import PersonalDataRule

READ = (*TEXTS, "beside")
"""Where it is looked for. What `beside` (the prompt) only says again is counted once."""


Values = Mapping[str, Mapping[tuple[int, int], str]]
"""What the texts of a row hold: word → (start, end) in it → kind. A value that is a part of a word stands here by
itself and as that part of the word: `Ann` of `Anns`."""


def find(rows: pa.Table, rule: PersonalDataRule, context: Context) -> Findings:
    """Rows with personal data in a text, an answer or the prompt. Answers that are choices are left as they are.

    score: of the surest piece, below the threshold, too; NaN where there is none. detail: kinds and counts of what is
    masked. start and end mark the first piece in `text`. A fix masks all texts of the row; a row of tagged words cannot
    be masked without its tags, and goes to review. figures: rows by kind.
    """
    scores = np.full(len(rows), np.nan, dtype=np.float32)
    found: dict[int, Finding] = {}
    figures: Counter[str] = Counter()
    some = _suspects(rows, rule)
    columns = [*READ, "choices", "tokens", "task"]
    candidates = rows.select(columns).take(some).to_pylist()
    texts = [
        [text if (text := row[name]) and text not in (row["choices"] or ()) else "" for name in READ]
        for row in candidates
    ]
    templates = {task: messages.whole(of_task) for task, of_task in context.templates.items()}
    for position, row, written, spans in zip(some.tolist(), candidates, texts, _spans(texts, rule), strict=True):
        template = templates.get(row["task"]) if any(spans) else None
        own = messages.own(template, written[-1]) if template else []
        of_record = [*spans[:-1], _of_record(spans[-1], own)]
        if not any(of_record):
            continue
        scores[position] = max(span.score for of_text in of_record for span in of_text)
        values = _values(written, [settled(of_text, rule.threshold) for of_text in of_record])
        if not values:
            continue
        pieces = [_pieces(text, values, rule, ()) for text in written[:-1]] + [_pieces(written[-1], values, rule, own)]
        counts = _counted(written, pieces)
        figures.update(counts.keys())
        choices = frozenset(row["choices"] or ())
        action = "review" if rule.action == "fix" and row["tokens"] is not None else rule.action
        within = None if row["tokens"] is not None else partial(masked, values=values, choices=choices, rule=rule)
        found[position] = Finding(
            action,
            score=float(scores[position]),
            threshold=rule.threshold,
            detail=", ".join(f"{count} × {kind}" for kind, count in sorted(counts.items())),
            start=pieces[0][0].start if pieces[0] else None,
            end=pieces[0][0].end if pieces[0] else None,
            mend=within,
            within=within,
        )
    return Findings(found, scores, figures=dict(sorted(figures.items())))


def _of_record(spans: Sequence[Span], own: Sequence[Own]) -> list[Span]:
    """Those that are not within what the template says."""
    return [span for span in spans if not any(one.start <= span.start and span.end <= one.end for one in own)]


def _values(written: Sequence[str], sure: Sequence[Sequence[Span]]) -> Values:
    """What was found in the texts of a row."""
    values: dict[str, dict[tuple[int, int], str]] = {}
    for text, of_text in zip(written, sure, strict=True):
        start = end = 0
        for span in of_text:
            values.setdefault(text[span.start : span.end], {})[0, span.end - span.start] = span.kind
            if span.start >= end:
                start = span.start
                while _is_within_word(text, start):
                    start -= 1
            end = max(end, span.end)
            while _is_within_word(text, end):
                end += 1
            values.setdefault(text[start:end], {})[span.start - start, span.end - start] = span.kind
    return values


def _is_within_word(text: str, at: int) -> bool:
    """Whether the signs before and after a place belong to one word, in a script that puts spaces between words."""
    return 0 < at < len(text) and LETTER.match(text, at - 1) is not None and LETTER.match(text, at) is not None


def _counted(written: Sequence[str], pieces: Sequence[Sequence[Span]]) -> Counter[str]:
    """How often each kind is masked in the texts of a row (READ)."""
    counts: Counter[str] = Counter()
    before: set[str] = set()
    for name, text, of_text in zip(READ, written, pieces, strict=True):
        here = [(text[span.start : span.end], span.kind) for span in of_text]
        counts.update(kind for value, kind in here if name != "beside" or value not in before)
        before.update(value for value, _ in here)
    return counts


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


def masked(
    text: str, own: Sequence[Own] = (), *, values: Values, choices: Collection[str], rule: PersonalDataRule
) -> str:
    """A text of the row without the values that its texts hold, nor what else has such a form.

    own: what of it the template says, which stays.
    """
    return text if text in choices else identifiers.masked(text, _pieces(text, values, rule, own))


def _pieces(text: str, values: Values, rule: PersonalDataRule, own: Sequence[Own]) -> list[Span]:
    """What is masked in a text: values of the row, what has a form, and what has one beside their masks."""
    pieces = _joined(_of_record([*_said(text, values), *_with_form(text, rule)], own))
    masks = [span._replace(kind="<" * (span.end - span.start - 2)) for span in pieces if span.end - span.start > 2]
    return _joined([*pieces, *_of_record(_with_form(identifiers.masked(text, masks), rule), own)])


def _with_form(text: str, rule: PersonalDataRule) -> list[Span]:
    return settled(identifiers.spans(text, _forms(rule), rule.region), rule.threshold)


def _joined(spans: Sequence[Span]) -> list[Span]:
    """In the order of the text; what overlaps is one piece, of the kind of the first and longest."""
    pieces: list[Span] = []
    for span in sorted(spans, key=lambda one: (one.start, -one.end)):
        if pieces and span.start < pieces[-1].end:
            pieces[-1] = pieces[-1]._replace(end=max(span.end, pieces[-1].end))
        else:
            pieces.append(span)
    return pieces


LETTER = re.compile(rf"[^\W{UNSPACED}]")
HEAD = re.compile(rf"[^\W{UNSPACED}]+|.", re.DOTALL)
"""A word, or a sign by itself: what values begin with, and where they end."""


def _said(text: str, values: Values) -> Iterator[Span]:
    """Where values stand as words, the longest at each place; in time linear in the text."""
    lengths: dict[str, set[int]] = {}
    for value in values:
        lengths.setdefault(HEAD.match(value)[0], set()).add(len(value))  # type: ignore[index]
    longest_first = {head: sorted(some, reverse=True) for head, some in lengths.items()}
    for head in HEAD.finditer(text) if lengths else ():
        start = head.start()
        for length in longest_first.get(head[0], ()):
            word = text[start : start + length]
            if word in values and not _is_within_word(text, start + length):
                for (first, last), kind in values[word].items():
                    yield Span(kind, start + first, start + last, identifiers.SURE)
                break
