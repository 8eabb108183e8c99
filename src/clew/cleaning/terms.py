"""Texts as sparse tf-idf vectors of words and word pairs; of characters and their pairs where words say nothing.

Words are hashed (scikit-learn's HashingVectorizer), batch by batch, so that a million texts need no dictionary.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import islice
from typing import Any, Protocol

import numpy as np

from clew import rows

WORD = r"\b\w+\b"
BUCKETS = 2**22
"""Of the hash. Two terms of a small data set rarely share one; of a large one the frequent terms are kept."""
BATCH = 1 << 14
LOOKED_AT = 2_000
"""Texts that are looked at to tell whether words are set apart by spaces."""
UNSPACED = re.compile(f"[{rows.UNSPACED}]")


class Texts(Sized, Iterable[str], Protocol):
    """A list of texts, or what reads them anew each time that they are gone through."""


class NoTerms(Exception):  # noqa: N818 - told as a DataError with the task's name
    """The texts hold nothing to learn from."""


def tfidf(texts: Texts, most: int) -> Any:
    """A sparse matrix (n, terms) of float32: sublinear tf, idf over all texts, rows of length 1.

    Terms that stand in one text only are left out, and all but the `most` that stand in the most texts. The matrix has
    8 bytes for each different term of a text, and while it is made there is twice as much. Raises NoTerms.
    """
    from sklearn.feature_extraction.text import TfidfTransformer

    for analyzer in ["char"] if _is_unspaced(texts) else ["word", "char"]:
        counts = _counts(texts, analyzer, most)
        if counts is not None:
            return TfidfTransformer(sublinear_tf=True).fit(counts).transform(counts, copy=False)
    raise NoTerms


def _is_unspaced(texts: Texts) -> bool:
    """Whether most letters are of scripts without spaces between words."""
    unspaced = letters = 0
    for text in islice(texts, 0, None, max(1, len(texts) // LOOKED_AT)):
        unspaced += len(UNSPACED.findall(text))
        letters += sum(map(str.isalpha, text))
    return 2 * unspaced > letters


def _counts(texts: Texts, analyzer: str, most: int) -> Any:
    """How often each term stands in each text (n, terms); None where no term stands in two texts."""
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(
        analyzer=analyzer,
        token_pattern=WORD,
        ngram_range=(1, 2),
        n_features=BUCKETS,
        alternate_sign=False,
        norm=None,
        dtype=np.float32,
    )
    return _frequent([hashing.transform(batch) for batch in _batches(texts)], most)


def _batches(things: Iterable[Any]) -> Iterator[list[Any]]:
    left = iter(things)
    while batch := list(islice(left, BATCH)):
        yield batch


def _frequent(batches: list[Any], most: int) -> Any:
    """The batches as one matrix, without the columns of one row only and all but the `most` of most rows.

    None where no column is left. The batches are used up, so that memory holds most terms once.
    """
    from scipy.sparse import csr_matrix

    frequency = np.zeros(BUCKETS, dtype=np.int32)
    for batch in batches:
        frequency += np.bincount(batch.indices, minlength=BUCKETS)
    kept = np.flatnonzero(frequency > 1)
    if not len(kept):
        return None
    if len(kept) > most:
        kept = np.sort(kept[np.argsort(-frequency[kept], kind="stable")[:most]])
    column = np.full(BUCKETS, -1, dtype=np.int32)
    column[kept] = np.arange(len(kept))
    total = int(frequency[kept].sum(dtype=np.int64))
    data, indices = np.empty(total, dtype=np.float32), np.empty(total, dtype=np.int32)
    ends, done = [np.zeros(1, dtype=np.int64)], 0
    batches.reverse()
    while batches:
        batch = batches.pop()
        columns = column[batch.indices]
        frequent = columns >= 0
        before = np.concatenate([[0], np.cumsum(frequent)])
        here = slice(done, done + before[-1])
        data[here], indices[here] = batch.data[frequent], columns[frequent]
        ends.append(done + before[batch.indptr[1:]])
        done += before[-1]
    return csr_matrix((data, indices, np.concatenate(ends)), shape=(sum(map(len, ends)) - 1, len(kept)))


def hashed(features: Iterable[Sequence[str]], most: int) -> Any:
    """A sparse matrix (n, features) of float32: 1 where a thing has a feature. Features of one thing only are left out.

    Raises NoTerms.
    """
    from sklearn.feature_extraction import FeatureHasher

    hashing = FeatureHasher(BUCKETS, input_type="string", dtype=np.float32, alternate_sign=False)
    found = _frequent([hashing.transform(batch) for batch in _batches(features)], most)
    if found is None:
        raise NoTerms
    return found
