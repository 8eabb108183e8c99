"""Texts as sparse tf-idf vectors of words and word pairs; of characters and their pairs where words say nothing.

Words are hashed (scikit-learn's HashingVectorizer), batch by batch, so that a million texts need no dictionary.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from clew import rows

WORD = r"\b\w+\b"
BUCKETS = 2**22
"""Of the hash. Two terms of a small data set rarely share one; of a large one the frequent terms are kept."""
BATCH = 50_000
LOOKED_AT = 2_000
"""Texts that are looked at to tell whether words are set apart by spaces."""
UNSPACED = re.compile(f"[{rows.UNSPACED}]")


class NoTerms(Exception):  # noqa: N818 - told as a DataError with the task's name
    """The texts hold nothing to learn from."""


def tfidf(texts: Sequence[str], most: int) -> Any:
    """A sparse matrix (n, terms) of float32: sublinear tf, idf over all texts, rows of length 1.

    Terms that stand in one text only are left out, and all but the `most` that stand in the most texts. Raises NoTerms.
    """
    from sklearn.feature_extraction.text import TfidfTransformer

    for analyzer in ["char"] if _is_unspaced(texts) else ["word", "char"]:
        counts = _counts(texts, analyzer, most)
        if counts is not None:
            return TfidfTransformer(sublinear_tf=True).fit(counts).transform(counts, copy=False)
    raise NoTerms


def _is_unspaced(texts: Sequence[str]) -> bool:
    """Whether most letters are of scripts without spaces between words."""
    some = texts[:: max(1, len(texts) // LOOKED_AT)]
    unspaced = sum(len(UNSPACED.findall(text)) for text in some)
    return 2 * unspaced > sum(character.isalpha() for text in some for character in text)


def _counts(texts: Sequence[str], analyzer: str, most: int) -> Any:
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
    batches = [hashing.transform(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]
    return _frequent(batches, most)


def _frequent(batches: list[Any], most: int) -> Any:
    """The batches as one matrix, without the columns of one row only and all but the `most` of most rows.

    None where no column is left. The batches are used up.
    """
    from scipy.sparse import vstack

    frequency = np.zeros(BUCKETS, dtype=np.int32)
    for batch in batches:
        frequency += np.bincount(batch.indices, minlength=BUCKETS)
    kept = np.flatnonzero(frequency > 1)
    if not len(kept):
        return None
    if len(kept) > most:
        kept = np.sort(kept[np.argsort(-frequency[kept], kind="stable")[:most]])
    for index, batch in enumerate(batches):
        batches[index] = batch[:, kept]
    return vstack(batches, format="csr")


def hashed(features: Sequence[Sequence[str]], most: int) -> Any:
    """A sparse matrix (n, features) of float32: 1 where a thing has a feature. Features of one thing only are left out.

    Raises NoTerms.
    """
    from sklearn.feature_extraction import FeatureHasher

    hashing = FeatureHasher(BUCKETS, input_type="string", dtype=np.float32, alternate_sign=False)
    starts = range(0, len(features), BATCH)
    found = _frequent([hashing.transform(features[start : start + BATCH]) for start in starts], most)
    if found is None:
        raise NoTerms
    return found
