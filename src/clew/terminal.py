"""Text of others (titles, rows, names of files) made fit to be printed: a terminal obeys what it is sent."""

from __future__ import annotations


def clean(text: object) -> str:
    """A text on one line, without control characters, which a terminal would obey, and marks that turn its direction.

    >>> clean("a\\x1b[31mb\\nc")
    'a\ufffd[31mb c'
    """
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in " ".join(str(text).split()))
