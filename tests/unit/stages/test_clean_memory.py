"""clean at scale: what is in memory does not grow with the texts of all rows."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pytest

from clew import io, params, paths, rows
from clew.cleaning import store
from clew.stages import clean
from examples.clean_rows import row

ROOT = Path(__file__).parents[3]
ROWS = 6_000
POOLS: list[pa.MemoryPool] = []
"""Kept: what was allocated from a pool must not outlive it."""


def _peak(words: int) -> int:
    """Bytes of Python, NumPy and Arrow at the peak of `clean` over ROWS texts of so many words, all different."""
    draw = random.Random(7)
    vocabulary = [f"{draw.choice('bdfgklmnprst')}{draw.choice('aeiou')}{number}" for number in range(5_000)]
    with io.parquet_writer(paths.ROWS, rows.SCHEMA) as write:
        for start in range(0, ROWS, 500):
            texts = [" ".join(draw.choices(vocabulary, k=words)) for _ in range(500)]
            made = [row(text, origin={"file": "f", "record": start + n}) for n, text in enumerate(texts)]
            write(rows.table(made))
    p = params.load(ROOT / "params.yaml")
    declared = p.clean.model_copy(update={"label_noise": None})
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    POOLS.append(pool)
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        assert clean.run(declared, p.prepare, 13) == {"rows": ROWS}
        return tracemalloc.get_traced_memory()[1] + pool.max_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the batch and the row group that are in hand, which are small here: rows stand for a million."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(store, "BATCH", 64)
    monkeypatch.setattr(io, "ROW_GROUP", 256)
    _peak(30)  # imports and caches
    short, long = _peak(30), _peak(300)
    texts = sum(len(one["text"]) for one in rows.read(paths.ROWS))
    assert long - short < texts, f"{short:,} → {long:,} bytes, and the texts are {texts:,}"
