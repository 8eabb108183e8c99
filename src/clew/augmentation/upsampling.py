"""Up-sampling: how often each row of a thin class or source is copied.

yes 300, no 100; to: 1.0, most: 3  →  each row of `no` twice
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clew.params_augment import TaskAugmentation

    Counts = NDArray[np.int64]


def times(rows: pa.Table, added: pa.Table, tasks: Mapping[str, TaskAugmentation], seed: int) -> Counts:
    """(n,) copies to make of each row (columns row_id, source, task, label), beside those that were `added` already.

    Tasks that go by label come first: their copies count where sources are evened out.
    """
    found = np.zeros(len(rows), dtype=np.int64)
    together = pa.concat_tables([rows, added])
    row_ids, of_task, sources = (rows[name].to_pylist() for name in ("row_id", "task", "source"))
    declared = {task: one.upsample for task, one in tasks.items() if one.upsample is not None}
    by_source = [task for task, upsample in declared.items() if upsample.by == "source"]
    counts = Counter(zip(of_task, sources, strict=True))
    by_label = [task for task in declared if task not in by_source]
    of_sources = Counter(together["source"].to_pylist())
    for task in (*by_label, *by_source):
        by = declared[task].by
        of_label = () if by == "source" else together.filter(pc.equal(together["task"], task))[by].to_pylist()
        sizes = of_sources if by == "source" else Counter(of_label)
        places: dict[str | None, list[int]] = {}
        for place, group in enumerate(rows[by].to_pylist()):
            if of_task[place] == task:
                places.setdefault(group, []).append(place)
        for group, some in places.items():
            lacking = max(int(declared[task].to * max(sizes.values())) - sizes[group], 0)
            if by == "source":  # which tasks may share: each makes its part of what it lacks
                lacking = _part(lacking, [counts[one, group] for one in by_source], by_source.index(task))
            draws = [_draw(row_ids[place], seed) for place in some]
            found[some] = np.minimum(_shared(lacking, draws), declared[task].most)
            if by == "label":
                for place in some:
                    of_sources[sources[place]] += int(found[place])
    return found


def _part(whole: int, sizes: list[int], which: int) -> int:
    """The part of a whole that falls to one of several by their sizes; all the parts are the whole.

    >>> [_part(10, [2, 1], which) for which in range(2)]
    [6, 4]
    """
    before = sum(sizes[:which])
    return whole * (before + sizes[which]) // sum(sizes) - whole * before // sum(sizes)


def _shared(copies: int, draws: list[int]) -> Counts:
    """Copies of each of some rows: as even as can be, the odd ones of those with the lowest draws."""
    each, odd = divmod(copies, len(draws))
    found = np.full(len(draws), each, dtype=np.int64)
    found[np.argsort(np.array(draws, dtype=np.uint64), kind="stable")[:odd]] += 1
    return found


def _draw(row_id: str, seed: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"upsample\0{seed}\0{row_id}".encode(), digest_size=8).digest())
