"""How what a trace finds is named: the same bytes at the same path, and the same run, have one id in all answers."""

from __future__ import annotations

import hashlib
from typing import Literal

from clew import paths
from clew.history.lockfile import Artifact, Stage
from clew.lineage.graph import Node

MODELS = f"{paths.MODELS.as_posix()}/"


def artifact_id(artifact: Artifact) -> str:
    """The id of an artifact's node: `models/sft@5f0c…`."""
    return f"{artifact.path}@{artifact.md5}"


def run_id(stage: str, block: Stage) -> str:
    """The id of a run's node: the same block has the same id in whichever commit it stands."""
    return f"{stage}#{hashlib.blake2b(repr((stage, block)).encode(), digest_size=6).hexdigest()}"


def artifact_node(artifact: Artifact, kind: Literal["artifact", "source"] = "artifact") -> Node:
    """The node of an artifact."""
    facts = {"md5": artifact.md5, "size": artifact.size, "files": artifact.nfiles, "model": is_model(artifact.path)}
    return Node(artifact_id(artifact), kind, artifact.path, facts)


def is_model(path: str) -> bool:
    """Whether a path is that of a model.

    >>> is_model("models/sft"), is_model("models"), is_model("data/models")
    (True, False, False)
    """
    return path.startswith(MODELS)
