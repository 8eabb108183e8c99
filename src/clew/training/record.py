"""A model's record, within its folder: which rows it was trained on, as one number that all of them make.

    models/sft/clew.json: {"stage": "sft", "fed": {"rows": 900, "root": "5be1…"}}

Where several processes made it, `launch` says how many, on how many machines, and what the model was wrapped in.
Who has the model file and the list of rows can tell that they belong together, and (by the tree) that a row is in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clew.training import processes

NAME = "clew.json"


def root(row_ids: Sequence[str]) -> str:
    """The root, in hex, of a Merkle tree over distinct row ids in ascending order (BLAKE2b-256, form of RFC 6962).

    A leaf is H(0x00 ‖ its number in 8 bytes ‖ the id), a node H(0x01 ‖ left ‖ right); of n leaves the left tree has
    the largest power of two below n. The number within a leaf lets two neighbours prove that nothing lies between.
    """
    ids = sorted(set(row_ids))
    level = [_hash(b"\0" + number.to_bytes(8) + bytes.fromhex(one)) for number, one in enumerate(ids)]
    if not level:
        return _hash(b"").hex()
    while len(level) > 1:
        pairs = [_hash(b"\1" + level[at] + level[at + 1]) for at in range(0, len(level) - 1, 2)]
        level = pairs + level[len(pairs) * 2 :]
    return level[0].hex()


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


def write(folder: Path, stage: str, fed: Mapping[str, Any]) -> None:
    """Put the record into a model's folder, in place of that of the model it was made from."""
    text = json.dumps({"stage": stage, "fed": dict(fed), **processes.made_by()}, indent=1, sort_keys=True)
    (folder / NAME).write_text(text + "\n", encoding="utf-8")
