"""Synonyms: words take one of their synonyms' places (Zhang, Zhao and LeCun, 2015; Wei and Zou, 2019).

    happy<TAB>glad<TAB>content      a line of the table

Which words mean the same depends on what texts are about, so the table is the user's: a declared source, like data.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from clew.augmentation.edits import WORD, Changed, NotMade, with_text
from clew.errors import DataError

Table = Mapping[str, Sequence[str]]
"""A word in lower case → its synonyms."""


def read(path: Path) -> Table:
    """Read a table; raises DataError for what is none."""
    fix = "Write a line for each word, UTF-8: the word, a tab, its synonyms with tabs between them."
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"no table of synonyms ({error})", where=str(path), fix=fix) from None
    table: dict[str, list[str]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        word, *found = (part.strip() for part in line.split("\t"))
        if not WORD.fullmatch(word) or not found or not all(found):
            raise DataError(f"no word with its synonyms: {line[:60]!r}", where=f"{path}:{number}", fix=fix)
        table.setdefault(word.lower(), []).extend(one for one in found if one.lower() != word.lower())
    return table


def changed(row: Mapping[str, Any], table: Table, rate: float, stay: Set[str], draw: random.Random) -> Changed:
    """The row with `rate` of the words that have synonyms replaced, one at least, but for those that stay."""
    text = row["text"] or ""
    places = []
    for found in WORD.finditer(text):
        word = found[0].lower()
        others = [] if word in stay else [one for one in table.get(word, ()) if one.lower() not in stay]
        if others:
            places.append((found, others))
    if not places:
        raise NotMade("no_word_to_replace")
    parts, end = [], 0
    replaced = sorted(draw.sample(range(len(places)), max(int(rate * len(places) + 0.5), 1)))
    for found, others in (places[place] for place in replaced):
        parts += [text[end : found.start()], _cased(draw.choice(others), found[0])]
        end = found.end()
    n = len(replaced)
    return with_text(row, "".join([*parts, text[end:]]), f"{n} word{'s' if n > 1 else ''}")


def _cased(new: str, old: str) -> str:
    """
    >>> _cased("glad", "Happy"), _cased("glad", "HAPPY"), _cased("I hope", "happily")
    ('Glad', 'GLAD', 'I hope')
    """
    if old.isupper() and len(old) > 1:
        return new.upper()
    return new[0].upper() + new[1:] if old[0].isupper() else new
