"""Texts as vectors for the rules that compare meanings: tf-idf, a sentence encoder, or embeddings that are given.

    embed(["I cannot sleep", "sleepless again", " "], features, seed) → (3, d) float32, rows of length 1, the last 0

Cosines of such rows are plain products. The same text has the same vector wherever it stands.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from clew import paths
from clew.errors import DataError
from clew.rows import UNSPACED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clew.params_clean import EncoderFeatures, Features, GivenFeatures, TfidfFeatures

    Vectors = NDArray[np.float32]

SAMPLE = 50_000
"""Texts that the vocabulary and the decomposition are learnt from, where there are more."""
BLOCK = 1 << 14
"""Texts that are turned into sparse counts at a time."""
ITERATIONS = 4


def embed(texts: Sequence[str], features: Features, seed: int) -> Vectors:
    """Vectors (n, d) of length 1; of length 0 where a text holds nothing. Each distinct text is embedded once."""
    indices: dict[str, int] = {}
    where = [indices.setdefault(text, len(indices)) if text.strip() else -1 for text in texts]
    if not indices:
        return np.zeros((len(texts), 1), dtype=np.float32)
    distinct = _normalised(_of_kind(list(indices), features, seed))
    if len(distinct) == len(texts):
        return distinct
    return np.concatenate([distinct, np.zeros((1, distinct.shape[1]), dtype=np.float32)])[where]


def _of_kind(texts: list[str], features: Features, seed: int) -> Vectors:
    if features.kind == "tfidf":
        return _tfidf(texts, features, seed)
    if features.kind == "encoder":
        return _encoded(texts, features)
    return _given(texts, features)


def _normalised(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    divided: Vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return divided


def _tfidf(texts: list[str], features: TfidfFeatures, seed: int) -> Vectors:
    """tf-idf of words, reduced by a truncated SVD (LSA; Deerwester et al., 1990), as float32 (n, d).

    Words, weights and axes are learnt from at most SAMPLE texts, those of the smallest digests: a text that comes in
    takes the place of one at most. d is less than `dimensions` where there are fewer words or texts.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.utils.extmath import randomized_svd
    from threadpoolctl import threadpool_limits

    words = TfidfVectorizer(token_pattern=rf"[{UNSPACED}]|[^\W{UNSPACED}]+", sublinear_tf=True, dtype=np.float32)
    try:
        known = words.fit_transform(_sample(texts))
    except ValueError as error:
        if "vocabulary" not in str(error):
            raise
        return np.zeros((len(texts), 1), dtype=np.float32)  # punctuation only
    blocks = (words.transform(texts[start : start + BLOCK]) for start in range(0, len(texts), BLOCK))
    if known.shape[1] <= features.dimensions:
        return np.concatenate([block.toarray() for block in blocks])
    axes = min(features.dimensions, known.shape[0])
    with threadpool_limits(1):  # the order of sums, and so the last digits, would follow the number of threads
        _, _, components = randomized_svd(known, axes, n_iter=ITERATIONS, random_state=seed)
    return np.concatenate([block @ components.T for block in blocks])


def _sample(texts: list[str]) -> list[str]:
    """Those of the smallest digests, in their order."""
    digests = b"".join(hashlib.blake2b(_utf8(text), digest_size=8).digest() for text in texts)
    return [texts[i] for i in np.frombuffer(digests, dtype=">u8").argsort(kind="stable")[:SAMPLE].tolist()]


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _encoded(texts: list[str], features: EncoderFeatures) -> Vectors:
    from clew.cleaning import encoder

    return encoder.embed(paths.RAW / features.source, texts, features.batch_size, features.max_length)


def _given(texts: list[str], features: GivenFeatures) -> Vectors:
    """From a parquet file with the columns text_sha256 (64 hex digits, of the text as UTF-8) and embedding."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    path = paths.RAW / features.source / features.file
    fix = (
        "It wants the columns text_sha256 (hex digits, of the text as UTF-8) and embedding (floats, all of one length)."
    )
    try:
        table = pq.read_table(path, columns=["text_sha256", "embedding"]).combine_chunks()
        digests = pa.array([hashlib.sha256(_utf8(text)).hexdigest() for text in texts])
        positions = pc.index_in(digests, value_set=table["text_sha256"].cast(digests.type))
        if positions.null_count:
            example = texts[positions.is_null().index(True).as_py()]
            raise DataError(
                f"{positions.null_count:,} of {len(texts):,} texts have no embedding there, such as {example[:60]!r}",
                where=str(path),
                fix="Add them, or name a rule's tasks whose texts it has.",
            )
        some = table["embedding"].take(positions).combine_chunks()
        lengths = pc.unique(pc.list_value_length(some)).to_pylist()
        vectors = pc.list_flatten(some).cast(pa.float32()).to_numpy(zero_copy_only=False)
    except (OSError, pa.ArrowException, KeyError) as error:
        raise DataError(f"no embeddings ({str(error).splitlines()[0][:120]})", where=str(path), fix=fix) from None
    if len(lengths) != 1 or not lengths[0] or not np.isfinite(vectors).all():
        raise DataError("the embeddings are of several lengths, or hold what is no number", where=str(path), fix=fix)
    return np.asarray(vectors.reshape(len(texts), lengths[0]), dtype=np.float32)
