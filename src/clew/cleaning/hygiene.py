"""Damaged texts: encodings that were read wrongly, control and invisible characters and, if asked, markup of HTML.

    "The patientâ€™s mother\\u200b said <b>no</b>"  →  "The patient’s mother said no"

Wrong encodings are told and mended by ftfy (Speer 2019, doi:10.5281/zenodo.2591652). Its other repairs change what is
no damage (curly quotes, ligatures, full-width letters) and are off.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache, partial
from html import unescape
from html.entities import html5
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from clew.cleaning.finding import TEXTS, Context, Finding, Findings
from clew.rows import is_unwanted

if TYPE_CHECKING:
    import pyarrow as pa
    from ftfy import TextFixerConfig
    from numpy.typing import NDArray

    from clew.params_clean import HygieneRule

ORDINARY = r"\t\n\f\r -~‘’“”–—…•"
"""ASCII and typographic signs, of which no damage consists: most English texts have no others."""
LOOKED_AT = 1_000_000
"""Bytes of a text, from which on it is left to the rule about length."""
CONTROLS = re.compile(r"\x1b\[[\d;]*[A-Za-z]|[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")
"""Colours of terminals, and control characters that are no white space."""

C1 = re.compile("[\x80-\x9f]")
"""Control characters that are bytes of Windows-1252, mostly."""

_UNSEEN = "\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb\U000e0001-\U000e007f"
INVISIBLE = re.compile(f"([^{_UNSEEN}]?)([{_UNSEEN}]+)(?=([^{_UNSEEN}]?))")
"""Soft hyphens, zero-width characters, marks of direction, tags; with the characters before and after."""
NEEDED = re.compile("[\u0590-\u1fff\u2190-\U0003ffff]")
"""Scripts that need some of them (Persian, Hindi, Thai, …) and emoji, which they join."""

_BLOCKS = "address article aside blockquote br center dd div dl dt fieldset figcaption figure footer form h[1-6] header hr li main nav ol p pre section table tbody td tfoot th thead tr ul"  # noqa: E501
_INLINE = "a abbr acronym audio b bdi bdo big body button cite code col colgroup data del dfn em embed font head html i iframe img input ins kbd label link mark meta noscript object option param picture q s samp script select small source span strike strong style sub sup svg textarea time title tt u var video wbr"  # noqa: E501
HIDDEN = re.compile(r"<!--|<(script|style)\b[^<>]*>", re.IGNORECASE)
"""What opens a part of a page that is not seen …"""
CLOSERS = {
    "": (re.compile("-->"), 9_999),
    "script": (re.compile(r"</script\s*>", re.IGNORECASE), 99_999),
    "style": (re.compile(r"</style\s*>", re.IGNORECASE), 99_999),
}
"""… what closes it, and after how many characters at most."""
DEPTH = 10
"""How often markup is taken out of what taking out markup has left."""
BLOCK = re.compile(rf"</?(?:{_BLOCKS.replace(' ', '|')})(?:\s[^<>]*)?/?>", re.IGNORECASE)
INLINE = re.compile(rf"</?(?:{_INLINE.replace(' ', '|')})(?:\s[^<>]*)?/?>", re.IGNORECASE)
ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][\da-fA-F]{1,6}|[A-Za-z][A-Za-z\d]{1,31});")


def find(rows: pa.Table, rule: HygieneRule, context: Context) -> Findings:  # noqa: ARG001 - a rule's form
    """Rows with a damaged text, answer, rejected answer or option. Answers that are choices are left as they are.

    detail names the kinds of damage; start and end mark the first damaged word of `text`. figures: rows by kind.
    """
    repairs = _repairs(rule.markup)
    suspect = np.logical_or.reduce([_may_be_damaged(rows[name], rule.markup) for name in TEXTS])
    options = rows["options"].combine_chunks()
    owners = pc.list_parent_indices(options).to_numpy()
    suspect[owners[_may_be_damaged(pc.list_flatten(options), rule.markup)]] = True
    some = np.flatnonzero(suspect)
    found = {}
    counts: Counter[str] = Counter()
    for position, row in zip(
        some.tolist(), rows.select([*TEXTS, "choices", "options", "tokens"]).take(some).to_pylist(), strict=True
    ):
        choices = frozenset(row["choices"] or ())
        texts = [row[name] for name in TEXTS if row[name] is not None and row[name] not in choices]
        damages = {kind for text in [*texts, *(row["options"] or ())] for kind in damage(text, repairs)}
        if kinds := [kind for kind in repairs if kind in damages]:
            counts.update(kinds)
            start, end = _first_damage(row["text"] or "", repairs)
            mend = partial(_mend, repairs=repairs, choices=choices) if rule.action == "fix" else None
            told = ", ".join(kinds)
            answer = row["rejected"] if is_unwanted(row) else row["completion"]
            if mend and not all(mend(text).strip() for text in (row["text"], answer) if text):
                found[position] = Finding("drop", detail=f"nothing but {told}", start=start, end=end)
                continue
            tokens = [mend(token) for token in row["tokens"] or ()] if mend else []
            if mend and tokens and not _agree(row["text"] or "", row["tokens"], mend):
                detail = f"{told}; mended, the words would not be those of the text"
                found[position] = Finding("review", detail=detail, start=start, end=end)
                continue
            changes = {"tokens": tokens} if mend and tokens != (row["tokens"] or []) else None
            found[position] = Finding(rule.action, detail=told, start=start, end=end, mend=mend, changes=changes)
    return Findings(found, figures=dict(sorted(counts.items())))


Repairs = Mapping[str, Callable[[str], str]]
"""kind of damage → what takes it out of a text."""


def _repairs(markup: bool) -> Repairs:
    """In the order in which they are done: an entity may stand for an invisible character, bytes of a wrong encoding
    may look like control characters.
    """
    repairs = {"mojibake": _decoded, "control characters": _without_controls, "invisible characters": _without_unseen}
    of_markup: Repairs = {"markup": _without_markup} if markup else {}
    return {**of_markup, **repairs}


def damage(text: str, repairs: Repairs) -> list[str]:
    """The kinds of damage of a text."""
    kinds = []
    for kind, repair in repairs.items():
        mended = repair(text)
        if mended != text:
            kinds.append(kind)
        text = mended
    return kinds


def _mend(text: str, repairs: Repairs, choices: Collection[str]) -> str:
    """The text without its damage, and without the white space at its ends that this leaves."""
    if text in choices:
        return text
    mended = _repaired(text, repairs)
    return mended if mended == text else mended.strip()


def _repaired(text: str, repairs: Repairs) -> str:
    for repair in repairs.values():
        text = repair(text)
    return text


def _agree(text: str, tokens: Sequence[str], mend: Callable[[str], str]) -> bool:
    """Whether mended words are as many as before, and stand in what holds them all, mended: the text, the answer."""
    mended = [mend(token) for token in tokens]
    if any(len(new.split()) != len(old.split()) for new, old in zip(mended, tokens, strict=True)):
        return False
    old, new = _joined(tokens), _joined(mended)
    return all(new in _joined([mend(whole)]) for whole in (text, " ".join(tokens)) if old in _joined([whole]))


def _joined(texts: Sequence[str]) -> str:
    """Texts without white space: templates join words with spaces or without."""
    return "".join("".join(texts).split())


def _may_be_damaged(texts: pa.ChunkedArray | pa.Array, markup: bool) -> NDArray[np.bool_]:
    """Cheaply, of all texts (n,): those of ordinary signs only, and those that are whole files, are not looked at."""
    suspect = pc.match_substring_regex(texts, f"[^{ORDINARY}]|[<&]" if markup else f"[^{ORDINARY}]")
    suspect = pc.and_(suspect, pc.less(pc.binary_length(texts), LOOKED_AT))
    mask: NDArray[np.bool_] = pc.fill_null(suspect, False).to_numpy(zero_copy_only=False)
    return mask


def _first_damage(text: str, repairs: Repairs) -> tuple[int | None, int | None]:
    """Where the first damaged word begins and ends; (None, None) in a sound text."""
    mended = _repaired(text, repairs)
    if mended == text:
        return None, None
    pairs = enumerate(zip(text, mended, strict=False))
    start = next((at for at, (old, new) in pairs if old != new), min(len(text), len(mended)))
    end = next((at for at in range(start + 1, len(text)) if text[at].isspace()), len(text))
    return start, end


def _decoded(text: str) -> str:
    if text.isascii():
        return text
    import ftfy
    from ftfy.badness import is_bad

    return ftfy.fix_text(text, _ftfy_config()) if is_bad(text) or C1.search(text) else text


@lru_cache(1)
def _ftfy_config() -> TextFixerConfig:
    """Wrong encodings only."""
    import ftfy

    return ftfy.TextFixerConfig(
        unescape_html=False,
        remove_terminal_escapes=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        fix_line_breaks=False,
        fix_surrogates=False,
        remove_control_chars=False,
        normalization=None,
        explain=False,
    )


def _without_controls(text: str) -> str:
    return CONTROLS.sub("", text)


def _without_unseen(text: str) -> str:
    return text if text.isascii() else INVISIBLE.sub(_kept_where_needed, text)


def _kept_where_needed(run: re.Match[str]) -> str:
    """The run goes, unless it stands beside a script or an emoji that needs it."""
    before, unseen, after = run.groups()
    return before + unseen if NEEDED.match(before) or NEEDED.match(after) else before


def laid_open(text: str) -> str:
    """A text without its damage, but with what its markup hides."""
    return _repaired(_without_markup(text, hidden=True), _repairs(markup=False))


def _without_markup(text: str, hidden: bool = False) -> str:
    """Entities become what they stand for, tags go (those of blocks leave a new line); escaped ones, too.

    hidden: leave what comments, scripts and styles hold.
    """
    for _ in range(DEPTH):
        plain = ENTITY.sub(_unescaped, text)
        plain = INLINE.sub("", BLOCK.sub("\n", plain if hidden else _without_hidden(plain)))
        if plain == text:
            break
        text = plain
    return text


def _without_hidden(text: str) -> str:
    """Without comments, scripts and styles. Of each kind, closers are looked for once through the text."""
    kept, done = [], 0
    closing: dict[str, re.Match[str] | None] = {}
    for opening in HIDDEN.finditer(text):
        start, after = opening.span()
        if start < done:
            continue
        kind = (opening[1] or "").lower()
        pattern, most = CLOSERS[kind]
        closer = closing.get(kind)
        if kind not in closing or (closer and closer.start() < after):
            closer = closing[kind] = pattern.search(text, after)
        if closer and closer.start() - after <= most:
            kept.append(text[done:start])
            done = closer.end()
    return "".join([*kept, text[done:]])


def _unescaped(entity: re.Match[str]) -> str:
    """`&AT&T;` is none of HTML's names and stays."""
    return unescape(entity[0]) if entity[0][1] == "#" or entity[0][1:] in html5 else entity[0]
