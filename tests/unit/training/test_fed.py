"""What is counted as fed is what the batches held: no more, no less, and only what is in the weights."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clew import paths
from clew.training import fed, record

ROW_IDS = [f"{number:064x}" for number in range(6)]


@given(st.lists(st.lists(st.tuples(st.integers(-1, 5), st.booleans()), min_size=4, max_size=4), max_size=5), st.data())
def test_counts_are_those_of_the_batches(sequences: list[list[tuple[int, bool]]], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(sequences)))
    counted = fed.Fed(6)
    for batch in (sequences[:cut], sequences[cut:]):
        if batch:
            examples = torch.tensor([[of for of, _ in tokens] for tokens in batch])
            counted.add(examples, torch.tensor([[trained for _, trained in tokens] for tokens in batch]))
    times, tokens, masked = Counter[int](), Counter[int](), Counter[int]()
    for sequence in sequences:
        times.update({of for of, _ in sequence} - {-1})
        tokens.update(of for of, _ in sequence if of >= 0)
        masked.update(of for of, trained in sequence if of >= 0 and not trained)
    assert counted.now.tolist() == [[counts[of] for of in range(6)] for counts in (times, tokens, masked)]
    assert counted.tokens == tokens.total()


def test_rows_are_written_with_what_is_in_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    counted = fed.Fed(3)
    batch = torch.tensor([[2, 2, -1], [0, 0, 0]]), torch.tensor([[False, True, False], [False, False, True]])
    counted.add(*batch)
    counted.keep()
    counted.add(torch.tensor([[1, 1]]), torch.tensor([[True, True]]))
    counted.save(tmp_path)
    again = fed.Fed(3)
    again.load(tmp_path)
    assert np.array_equal(again.now, counted.now)
    told = fed.write("sft", [ROW_IDS[1], ROW_IDS[3], ROW_IDS[1]], [False, False, True], again)
    assert pq.read_table(paths.fed("sft")).to_pylist() == [
        {"row_id": ROW_IDS[1], "times_fed": 2, "tokens_fed": 5, "tokens_masked": 3, "truncated": True}
    ]
    assert told == {"rows": 1, "root": record.root([ROW_IDS[1]])}


@given(st.sets(st.sampled_from(ROW_IDS)), st.randoms())
def test_the_root_is_that_of_the_set_and_of_no_other(some: set[str], draw: object) -> None:
    assert record.root(sorted(some, reverse=True)) == record.root([*sorted(some), *some])
    for one in ROW_IDS:
        assert (record.root([*(some ^ {one})]) == record.root([*some])) is False


def test_the_root_is_the_tree_of_rfc_6962() -> None:
    def tree(leaves: list[bytes]) -> bytes:
        if len(leaves) == 1:
            return leaves[0]
        left = 1 << (len(leaves) - 1).bit_length() - 1
        return record._hash(b"\1" + tree(leaves[:left]) + tree(leaves[left:]))

    for n in range(1, 7):
        leaves = [record._hash(b"\0" + at.to_bytes(8) + bytes.fromhex(one)) for at, one in enumerate(ROW_IDS[:n])]
        assert record.root(ROW_IDS[:n]) == tree(leaves).hex()
