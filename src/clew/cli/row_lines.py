"""A row's biography in words, and signs that a terminal would obey kept from it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clew.lineage.biography import Biography, Chapter
    from clew.lineage.row_values import Decision

NOTE = (
    "Rows are told apart by their exact content: a paraphrase is another row, a row that is absent is not a person who"
    " is absent, and what the base model was trained on is unknown."
)
SHALLOW = "this clone is shallow: older commits were not searched (`git fetch --unshallow`)"
SHORT = 200
"""Characters of a text that is shown."""


def as_json(value: object, indent: int | None = None) -> str:
    r"""JSON that any reader takes: null for what is no number; signs that no terminal prints are escaped.

    >>> as_json({"a": float("nan"), "b": "x\x9by"})
    '{"a": null, "b": "x\\u009by"}'
    """
    text = json.dumps(_plain(value), indent=indent, ensure_ascii=False, allow_nan=False)
    return re.sub(
        r"[^\n -~]", lambda found: found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1], text
    ).replace("\x7f", "\\u007f")


def _plain(value: Any) -> Any:
    """Named tuples as objects, numbers that JSON does not have as null."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def cell(value: object) -> str:
    r"""A value of a line whose values are told apart by tabs.

    >>> print(cell("a\tb\nc\x1b[2J"))
    a\tb\nc�[2J
    """
    text = str("" if value is None else value).replace("\\", "\\\\")
    for sign, escaped in (("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(sign, escaped)
    return printable(text)


def printable(line: str) -> str:
    """A line without signs that a terminal would obey, its spaces as they are."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in line)


def biography(row: Biography, shown: int | None) -> Iterator[str]:
    """The lines of one row, without control signs; of its chapters the last `shown` (None: all), newest first."""
    for line in _biography(row, shown):
        yield printable(line)


def _biography(row: Biography, shown: int | None) -> Iterator[str]:
    place = f"{row.source}/{row.file} record {row.record}" if row.source else "a file that no ledger names"
    kind = "".join(f", {name} {value}" for name, value in (("task", row.task), ("label", row.label)) if value)
    yield f"row {row.row_id}"
    yield f"  from {place}{kind}"
    if row.text:
        line = " ".join(row.text[: 8 * SHORT].split())
        yield f"  “{line if len(line) <= SHORT else line[:SHORT] + '…'}”"
    for word, ids in (("made from", row.parents), ("children", row.children)):
        if ids:
            yield f"  {word}: {', '.join(one[:12] for one in ids[:8])}{f' and {len(ids) - 8} more' * (len(ids) > 8)}"
    chapters = row.chapters[-shown:] if shown else row.chapters
    for chapter in reversed(chapters):
        yield ""
        yield from _chapter(chapter)
    hidden = len(row.chapters) - len(chapters)
    if hidden:
        yield from ("", f"  … and {hidden:,} earlier stories: --all")
    if not chapters:
        yield from ("", "  in none of the commits that were asked")
    elif row.absent:
        yield from ("", f"  not in the rows of {_many(row.absent, 'other commit')}")


def _chapter(chapter: Chapter) -> Iterator[str]:
    yield f"  {_span(chapter)}"
    stages = [decision.stage for decision in chapter.decisions]
    for decision in chapter.decisions:
        several = stages.count(decision.stage) > 1 and decision.file is not None
        place = f"  ← {decision.file} record {decision.record}" if several else ""
        yield f"    {decision.stage}: {_decision(decision)}{place}"
    if chapter.side and not chapter.trained:
        yield f"    side: {chapter.side}"
    if chapter.trained:
        weight = "" if chapter.weight is None else f", weight {chapter.weight:.6g}"
        yield f"    in training{weight} → {', '.join(chapter.models) or 'no model yet'}"
        yield f"    fed: {_fed(chapter.fed)}"
    if chapter.elsewhere:
        models = ", ".join(chapter.elsewhere)
        yield f"    in the training set that {models} was made from (another run of the data stages)"
    if chapter.lost:
        yield f"    scores and weight not read: {'; '.join(chapter.lost)} (`dvc pull`)"
    elif not chapter.read:
        yield "    scores and weight not read (an older story, or a large file in an order of its own): --all"
    if chapter.unknown:
        yield f"    not known, so nothing is said of: {', '.join(chapter.unknown)}"


def _span(chapter: Chapter) -> str:
    if chapter.last is None or chapter.first is None:
        return "work tree (not committed)"
    first, last = chapter.first.id[:7], chapter.last.id[:7]
    ids = first if chapter.commits == 1 else f"{first}…{last}"
    where = f"now on {_few(chapter.heads)}" if chapter.heads else f"earlier, in {_few(chapter.within)}"
    title = f"  “{chapter.last.title[:50]}”" if chapter.commits == 1 else ""
    return f"{ids}  {_many(chapter.commits, 'commit')}, {where}{title}"


def _decision(now: Decision) -> str:
    rule = f" by {now.rule}" if now.rule else ""
    facts = []
    if now.score is not None:
        facts.append(f"score {now.score:.6g}")
    if now.threshold is not None:
        facts.append(f"threshold {now.threshold:.6g}")
    if now.detail:
        facts.append(now.detail)
    told = f" ({', '.join(facts)})" if facts else ""
    return f"{now.decision}{rule}{told}"


def _fed(fed: Mapping[str, Mapping[str, Any] | None]) -> str:
    if not fed:
        return "not recorded"
    return "; ".join(f"{stage} {_facts(facts)}" for stage, facts in fed.items())


def _facts(facts: Mapping[str, Any] | None) -> str:
    if facts is None:
        return "not read"
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items()) if facts else "never"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _many(n: int, word: str) -> str:
    return f"{n:,} {word}{'' if n == 1 else 's'}"
