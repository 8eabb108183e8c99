"""Rows as fed: what the data loader put before the model in training, counted in every batch that was trained on.

    data/fed/sft.parquet   row_id    times_fed  tokens_fed  tokens_masked  truncated
                           5c60…     2          318         312            false

Counted are the steps that are in the weights: with early stopping, those up to the best measurement. Rows that no such
step has seen do not stand there. tokens_masked: those without a loss. truncated: the prompt lost its middle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clew import io, paths
from clew.training import processes, record

SCHEMA = pa.schema(
    [
        ("row_id", pa.string()),
        ("times_fed", pa.int64()),
        ("tokens_fed", pa.int64()),
        ("tokens_masked", pa.int64()),
        ("truncated", pa.bool_()),
    ]
)
COUNTS = "fed.npy"
"""In a checkpoint: what was fed up to it, now and at the best measurement."""


class Fed:
    """Counts of examples 0 … n - 1. A batch says under `examples` which example each of its tokens is of."""

    def __init__(self, n: int) -> None:
        self.now = np.zeros((3, n), dtype=np.int64)
        """Times, tokens and masked tokens of each example: of all processes when it was last settled, and of this one
        since."""
        self.kept = self.now.copy()
        self._settled = self.now.copy()

    def add(self, examples: Any, trained: Any, *, copies: int = 1) -> None:
        """Count a batch. examples (sequences, tokens): an index, or -1 for padding. trained: where there is a loss.

        copies: in how many sequences of the batch an example stands each time (a preference pair in two).
        """
        of = examples.cpu().numpy()
        masked = ~trained.cpu().numpy()
        n = self.now.shape[1]
        sequence, _ = np.nonzero(of >= 0)
        there = np.unique(sequence * n + of[of >= 0]) % n
        self.now[0] += np.bincount(there, minlength=n) // copies
        self.now[1] += np.bincount(of[of >= 0], minlength=n)
        self.now[2] += np.bincount(of[(of >= 0) & masked], minlength=n)

    @property
    def tokens(self) -> int:
        """All tokens that were fed until now; of several processes, those since they settled are taken for equal."""
        settled = int(self._settled[1].sum())
        return settled + (int(self.now[1].sum()) - settled) * processes.count()

    def settle(self) -> None:
        """Count what all processes were fed, which all of them must do at once."""
        if processes.count() > 1:
            self.now = self._settled + processes.total_counts(self.now - self._settled)
            self._settled = self.now.copy()

    def keep(self) -> None:
        """Remember that the weights of this moment are those to keep."""
        self.kept = self.now.copy()

    def save(self, folder: Path) -> None:
        """Write what `load` reads."""
        np.save(folder / COUNTS, np.stack([self.now, self.kept]))

    def load(self, folder: Path) -> None:
        """Become what was saved in `folder`."""
        self.now, self.kept = np.load(folder / COUNTS)
        self._settled = self.now.copy()


def tokens_of(examples: Any, attention_mask: Any) -> Any:
    """(sequences, tokens) the example of each token, -1 where nothing is attended to. examples: (sequences,)."""
    return examples.unsqueeze(1).where(attention_mask.bool(), examples.new_full((), -1))


def collator(pad: Callable[[list[dict[str, Any]]], dict[str, Any]], *, sequences: int = 1) -> Any:
    """TRL's collator `pad`, with `examples` (whose each token is) and, where rows have a weight, their `weights`.

    sequences: how many of the batch a row becomes; TRL puts the first of all rows before the second.
    """
    import torch

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        batch = pad(rows)
        numbers = torch.tensor([row["example"] for row in rows] * sequences)
        batch["examples"] = tokens_of(numbers, batch["attention_mask"])
        if "weight" in rows[0]:
            batch["weights"] = torch.tensor([row["weight"] for row in rows], dtype=torch.float32)
        return batch

    return collate


def write(stage: str, row_ids: Sequence[str], truncated: Sequence[bool], fed: Fed) -> dict[str, Any]:
    """Write data/fed/<stage>.parquet, by row_id; returns the number of its rows and their root, for the record.

    row_ids, truncated: of each example. Examples of one row (a duplicate that was kept) are counted together.
    """
    times, tokens, masked = fed.kept
    table = pa.table([pa.array(row_ids, pa.string()), times, tokens, masked, list(truncated)], schema=SCHEMA)
    summed = table.group_by("row_id").aggregate(
        [("times_fed", "sum"), ("tokens_fed", "sum"), ("tokens_masked", "sum"), ("truncated", "any")]
    )
    whole = summed.rename_columns({f"{name}_sum": name for name in SCHEMA.names[1:4]} | {"truncated_any": "truncated"})
    some = whole.select(SCHEMA.names).filter(pc.field("times_fed") > 0).sort_by("row_id")
    with io.parquet_writer(paths.fed(stage), SCHEMA) as put:
        put(some)
    return {"rows": len(some), "root": record.root(some["row_id"].to_pylist())}
