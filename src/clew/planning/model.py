"""What a model is made of, read without its weights: config.json, and the headers of its safetensors files.

    model.layers.0.mlp.down_proj.weight  F32  [576, 1536]   →   884,736 parameters, in layer 0

A header is a length of 8 bytes and JSON (https://huggingface.co/docs/safetensors, "Format"). A folder that is not in
the work tree is read in DVC's cache.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from clew.errors import ModelError
from clew.history.lockfile import Artifact
from clew.history.store import Store

BYTES = {
    "F64": 8,
    "I64": 8,
    "F32": 4,
    "I32": 4,
    "F16": 2,
    "BF16": 2,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "F8_E4M3": 1,
    "BOOL": 1,
}
LAYER = re.compile(r"(?:^|\.)(?:layers|layer|h|blocks)\.(\d+)\.")
MOST = 100 << 20
"""Bytes of a header, as the format itself has it."""


class Weight(NamedTuple):
    """A tensor of a model. layer: its number; None outside of the layers."""

    name: str
    shape: tuple[int, ...]
    bytes: int
    layer: int | None

    @property
    def parameters(self) -> int:
        """Its parameters."""
        return math.prod(self.shape)

    @property
    def module(self) -> str:
        """The name of the module that it belongs to: q_proj."""
        return (self.name.split(".")[-2:-1] or [""])[0]

    @property
    def is_matrix(self) -> bool:
        """Whether it multiplies."""
        return len(self.shape) == 2


class Model(NamedTuple):
    """Sizes as config.json names them; head: of one attention head. files: path in the folder → bytes."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int
    gated: bool
    encoder: bool
    tied: bool
    weights: tuple[Weight, ...]
    files: Mapping[str, int]

    @property
    def parameters(self) -> int:
        """All of them."""
        return sum(weight.parameters for weight in self.weights)

    @property
    def stored(self) -> int:
        """Bytes of the weights as they lie in the files."""
        return sum(weight.bytes for weight in self.weights)

    @property
    def in_layers(self) -> list[Weight]:
        """The matrices that a token is multiplied with in the layers."""
        return [weight for weight in self.weights if weight.layer is not None and weight.is_matrix]


def read(folder: Path, store: Store, out: Artifact | None) -> Model | None:
    """The model in a folder, or in DVC's cache as the `out` that the folder was; None where it is in neither.

    Raises ModelError where it is no model that can be read.
    """
    files = _files(folder, store, out)
    if "config.json" not in files:
        return None
    try:
        config = json.loads(files["config.json"].read_text(encoding="utf-8"))
        headers = [_header(path) for name, path in sorted(files.items()) if name.endswith(".safetensors")]
        weights = [
            _weight(name, about) for header in headers for name, about in header.items() if name != "__metadata__"
        ]
        return _model(config, weights, {name: path.stat().st_size for name, path in files.items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise ModelError(
            f"the model cannot be read ({type(error).__name__}: {error})",
            where=str(folder),
            fix="Run the stage that writes it again: `dvc repro`.",
        ) from None


def _files(folder: Path, store: Store, out: Artifact | None) -> dict[str, Path]:
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    if "config.json" in found or out is None:
        return found
    cached = {member.path: store.find(member.md5) for member in store.members(out.md5) or ()}
    return {name: path for name, path in cached.items() if path is not None} if all(cached.values()) else {}


def _header(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > MOST:
            raise ValueError(f"{path.name} has no header of safetensors")
        found: dict[str, Any] = json.loads(file.read(length))
        return found


def _weight(name: str, about: Mapping[str, Any]) -> Weight:
    match = LAYER.search(name)
    shape = tuple(int(size) for size in about["shape"])
    return Weight(name, shape, math.prod(shape) * BYTES.get(about["dtype"], 4), int(match[1]) if match else None)


def _model(config: Mapping[str, Any], weights: Sequence[Weight], files: Mapping[str, int]) -> Model:
    text = config.get("text_config") or config

    def size(*names: str) -> int:
        return int(next(text[name] for name in names if text.get(name) is not None))

    hidden, heads = size("hidden_size", "n_embd", "d_model"), size("num_attention_heads", "n_head")
    modules = {weight.module for weight in weights}
    head = int(text.get("head_dim") or hidden // heads)
    inner = text.get("intermediate_size") or text.get("n_inner") or 4 * hidden
    return Model(
        hidden=hidden,
        intermediate=int(inner),
        layers=size("num_hidden_layers", "n_layer"),
        heads=heads,
        kv_heads=int(text.get("num_key_value_heads") or heads),
        head=head,
        vocabulary=size("vocab_size"),
        gated=bool({"gate_proj", "gate_up_proj", "w1"} & modules),
        encoder="CausalLM" not in " ".join(config.get("architectures") or ["CausalLM"]),
        tied="lm_head" not in modules,
        weights=tuple(weights),
        files=files,
    )
