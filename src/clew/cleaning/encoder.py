"""A sentence encoder's embeddings, kept by content: a second run embeds only the texts that are new.

    .clew/features/<of the encoder's files and max_length>/<of the texts in it>.parquet    key, embedding

A part appears whole and never changes, so several processes may write at once; a damaged one is removed, and its texts
are embedded again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from clew import io, paths
from clew.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Positions = NDArray[np.int64]

PART = 1 << 13
"""Texts of a part at most: what a killed run loses."""
KEY = pa.binary(16)


def embed(folder: Path, texts: Sequence[str], batch_size: int, max_length: int) -> NDArray[np.float32]:
    """Mean-pooled embeddings (n, d) of texts that are not empty and all distinct, rounded to 16 bits.

    folder: of the encoder (config.json, model.safetensors, tokenizer). max_length: tokens, the rest is cut off. Raises
    ModelError where the folder holds no encoder, or one for shorter texts.
    """
    if not (folder / "config.json").is_file():
        raise ModelError(
            "there is no encoder (config.json)",
            where=str(folder),
            fix="Declare one under fetch_data.sources, and its name as clean.features.source.",
        )
    name = f"v1 {max_length} {io.tree_sha256(folder)}"
    return kept(name, texts, lambda missing: _embedded(folder, missing, batch_size, max_length))


def kept(
    name: str, texts: Sequence[str], compute: Callable[[Sequence[str]], Iterator[NDArray[np.float16]]]
) -> NDArray[np.float32]:
    """A vector for each of some distinct texts (n, d): from .clew/features, or computed where it is missing there.

    name: of all that decides about a vector but the text. compute: yields the vectors of its texts, in their order,
    in blocks, each of which is kept at once.
    """
    folder = paths.FEATURES / hashlib.sha256(name.encode()).hexdigest()[:32]
    keys = pa.array([_key(text) for text in texts], type=KEY)
    found = [_look_up(part, keys) for part in _parts(folder)]
    lacks = np.ones(len(texts), dtype=bool)
    for positions, _ in found:
        lacks[positions] = False
    missing = np.flatnonzero(lacks)
    start = 0
    for vectors in compute([texts[i] for i in missing.tolist()]) if len(missing) else ():
        positions = missing[start : start + len(vectors)]
        start += len(vectors)
        _keep(folder, keys.take(pa.array(positions)), vectors)
        found.append((positions, vectors))
    whole = np.empty((len(texts), found[-1][1].shape[1]), dtype=np.float32)
    for positions, vectors in found:
        whole[positions] = vectors
    return whole


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _keep(kept: Path, keys: pa.Array, vectors: NDArray[np.float16]) -> None:
    import pyarrow.parquet as pq

    name = hashlib.blake2b(b"".join(keys.to_pylist()), digest_size=16).hexdigest()
    values = pa.array([vector.tobytes() for vector in vectors], type=pa.binary(2 * vectors.shape[1]))
    with io.replace_file(kept / f"{name}.parquet") as aside:
        table = pa.table({"key": keys, "embedding": values})
        pq.write_table(table, aside, compression="none", use_dictionary=False, write_page_checksum=True)


def _parts(kept: Path) -> Iterator[pa.Table]:
    """The parts that are sound; others are removed."""
    import pyarrow.parquet as pq

    for path in sorted(kept.glob("[!.]*.parquet")):
        try:
            part = pq.read_table(path, page_checksum_verification=True)
            sound = part.schema.names == ["key", "embedding"] and part.schema.field("key").type == KEY
        except FileNotFoundError:
            continue
        except (OSError, pa.ArrowException):
            sound = False
        if sound:
            yield part
        else:
            path.unlink(missing_ok=True)


def _look_up(part: pa.Table, keys: pa.Array) -> tuple[Positions, NDArray[np.float16]]:
    """Which of the keys a part has (m,), and their embeddings (m, d)."""
    import pyarrow.compute as pc

    places = pc.index_in(keys, value_set=part["key"])
    positions = np.flatnonzero(places.is_valid())
    values = b"".join(part["embedding"].take(places.drop_null()).to_pylist())
    return positions, np.frombuffer(values, dtype="<f2").reshape(
        len(positions), part.schema.field(1).type.byte_width // 2
    )


def _embedded(folder: Path, texts: Sequence[str], batch_size: int, max_length: int) -> Iterator[NDArray[np.float16]]:
    """The embeddings of up to PART texts at a time."""
    from tqdm import tqdm

    model, tokenizer = _load(folder, max_length)
    with tqdm(total=len(texts), desc="embed", unit="text", disable=None) as bar:
        for start in range(0, len(texts), PART):
            some = list(texts[start : start + PART])
            tokens = tokenizer(some, truncation=True, max_length=max_length)["input_ids"]
            yield _pooled(model, tokens, batch_size, bar)


def _load(folder: Path, max_length: int) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModel, AutoTokenizer

    fix = "Name an encoder with its tokenizer: a folder with config.json, model.safetensors and tokenizer.json."
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model = AutoModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise ModelError(f"the encoder cannot be read ({said})", where=str(folder), fix=fix) from None
    most = getattr(model.config, "max_position_embeddings", max_length)
    if max_length > most:
        raise ModelError(
            f"the encoder reads {most} tokens at most, and clean.features.max_length is {max_length}",
            where=str(folder),
            fix=f"Set clean.features.max_length to {most} or less.",
        )
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def _pooled(model: Any, tokens: Sequence[Sequence[int]], batch_size: int, bar: Any) -> NDArray[np.float16]:
    """The mean over each text's tokens, of length 1 (n, d).

    A batch holds texts of one length, so that there is nothing to pad: padding changes the last digits of a text's
    embedding, and its neighbours would then decide about it.
    """
    import torch

    pooled: list[Any] = [None] * len(tokens)
    for batch in of_one_length(tokens, batch_size):
        ids = torch.tensor([tokens[i] for i in batch], device=model.device)
        with torch.inference_mode():
            means = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.mean(dim=1)
            vectors = torch.nn.functional.normalize(means, dim=1).half().cpu().numpy()
        for i, vector in zip(batch, vectors, strict=True):
            pooled[i] = vector
        bar.update(len(batch))
    return np.stack(pooled)


def of_one_length(tokens: Sequence[Sequence[int]], batch_size: int) -> Iterator[list[int]]:
    """Positions in batches, the longest first: memory that is too small is met at once."""
    by_length: dict[int, list[int]] = {}
    for i, some in enumerate(tokens):
        by_length.setdefault(len(some), []).append(i)
    for length in sorted(by_length, reverse=True):
        same = by_length[length]
        yield from (same[start : start + batch_size] for start in range(0, len(same), batch_size))
