"""Checkpoints to go on from after a kill: sealed when whole, keyed by all that decides what training makes.

    .clew/checkpoints/sft-3f0c9a…/checkpoint-40/{…, seal.json}

They lie outside every out (DVC deletes outs before a run) and are removed once the stage's outs are written.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from clew import io, paths
from clew.errors import SetupError
from clew.training import processes

SEAL = "seal.json"
CODE = Path(__file__).parents[1]  # the package: code that was changed must not go on from what other code made
PREFIX = "checkpoint-"  # as transformers names them, with the step
VERSIONS = ("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes")


@contextmanager
def folder(stage: str, inputs: Sequence[Path], section: str, seed: int, device: str) -> Iterator[Path]:
    """Yield where a stage's checkpoints lie: fixed by its inputs, section (as JSON), seed, device, versions and code.

    Checkpoints of this stage under another key are removed: nothing will go on from them. So are these when the
    block ends well. One process at a time: another is a SetupError. Of processes that train together the main one does
    all of it.
    """
    if not processes.is_main():
        yield processes.share(Path())
        return
    paths.CHECKPOINTS.mkdir(parents=True, exist_ok=True)
    with (paths.CHECKPOINTS.parent / f"{stage}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SetupError(
                f"another process is running {stage}",
                where=str(paths.CHECKPOINTS),
                fix="Wait for it, or end it; then run `dvc repro` again.",
            ) from None
        ours = _place(stage, inputs, section, seed, device)
        yield processes.share(ours)
        shutil.rmtree(ours, ignore_errors=True)


def _place(stage: str, inputs: Sequence[Path], section: str, seed: int, device: str) -> Path:
    parts = {
        "inputs": {path.as_posix(): io.tree_sha256(path) for path in inputs},
        "code": {path.relative_to(CODE).as_posix(): io.sha256(path) for path in sorted(CODE.rglob("*.py"))},
        "section": section,
        "seed": seed,
        "device": device,
        "versions": {name: metadata.version(name) for name in VERSIONS},
        "launch": processes.made_by(),
    }
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    ours = paths.CHECKPOINTS / f"{stage}-{key}"
    for other in paths.CHECKPOINTS.glob(f"{stage}-*"):
        if other != ours:
            shutil.rmtree(other, ignore_errors=True)
    return ours


def seal(checkpoint: Path) -> None:
    """Declare a checkpoint whole: list its files with their digests, last of all and in one step."""
    files = {path.relative_to(checkpoint).as_posix(): io.sha256(path) for path in _files(checkpoint)}
    aside = checkpoint / f"{SEAL}.part"
    with aside.open("w", encoding="utf-8") as file:
        json.dump(files, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(checkpoint / SEAL)


def is_whole(checkpoint: Path) -> bool:
    """Whether the seal is there and every file is as it was when it was sealed."""
    try:
        files = json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))
        return all(io.sha256(checkpoint / name) == digest for name, digest in files.items())
    except (OSError, ValueError, AttributeError):
        return False


def newest(parent: Path, before: float = math.inf) -> Path | None:
    """The newest whole checkpoint of a step before `before`; those that are not whole, and later ones, are removed.

    Of processes that train together the main one looks, and all get what it found.
    """
    return processes.folder_of_main(_newest(parent, before) if processes.is_main() else None)


def _newest(parent: Path, before: float) -> Path | None:
    for checkpoint in sorted(parent.glob(f"{PREFIX}*"), key=_step, reverse=True):
        if _step(checkpoint) < before and is_whole(checkpoint):
            return checkpoint
        shutil.rmtree(checkpoint, ignore_errors=True)
    return None


def _step(checkpoint: Path) -> int:
    number = checkpoint.name.removeprefix(PREFIX)
    return int(number) if number.isdecimal() else -1


def _files(checkpoint: Path) -> list[Path]:
    return sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name not in (SEAL, f"{SEAL}.part"))
