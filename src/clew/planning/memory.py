"""Peak memory of training, by arithmetic: what is held all the while, and what the longest batch adds.

Held: the weights (`training.device.load_model` says in which type), gradients and the optimizer's state of what is
trained (4 + 4 + 8 bytes a parameter with AdamW in float32: Rajbhandari et al., 2020, arXiv:1910.02054, section 3.1),
and a copy of the best weights so far. Added by a batch: what the backward pass needs of each layer (`_layer`, in the
manner of Korthikanti et al., 2022, arXiv:2205.05198, section 4, counted for Llama's layer as transformers computes it:
RMSNorm and residuals in float32, matrix products in the precision, no attention matrix, since sdpa keeps none: Dao
et al., 2022, arXiv:2205.14135), and the logits of the labelled tokens, a tile of the vocabulary at a time (TRL).

On a CPU that is not all. glibc's allocator cannot use again all that a batch frees: an aligned request wants more than
a hole of its own size, and a longer batch larger ones; and clew keeps freed memory, for speed (`runtime.ENVIRONMENT`).
So the order of the batches counts. `WASTE` has what was measured of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from clew.planning.model import Model
from clew.planning.settings import Settings

BASE = {"cpu": 640_000_000, "gpu": 600_000_000}
"""Python with torch, transformers and TRL (measured: 606 to 620 MB before the model is read, 25 to 30 MB for
the data); CUDA's context and kernels."""
TILE_ROWS, TILE_COLUMNS = 4096, 32768
"""Tokens and entries of the vocabulary whose logits TRL 1.16 holds at a time (trl/kernels/chunked_logprob.py)."""


class Waste(NamedTuple):
    """What a process or card takes beyond what is needed; docs/plan.md has the measurements.

    tiles: copies of a tile of logits, with all that is freed in between. once: of the longest batch's activations, for
    temporary tensors between them leave holes. earlier: of each batch that was the longest before it, what cannot be
    used again. shape: bytes that kernels and allocator keep of each of the first SHAPES batches of another length.
    blocks: of all, what the allocator rounds up.
    """

    tiles: float
    once: float
    earlier: float
    shape: int
    blocks: float


SHAPES = 35
WASTE = {
    "cpu bfloat16": Waste(9.5, 1.6, 0.27, 20_000_000, 0.0),  # measured; autocast makes many temporary copies
    "cpu float32": Waste(9.5, 1.2, 0.0, 0, 0.0),  # measured
    "gpu": Waste(2.0, 1.0, 0.0, 0, 0.1),  # the tile and its gradient by TRL's source; blocks of 2 MiB: a guess
}
QUANTISED = 0.5 + 0.127 / 8
"""Bytes a weight in nf4 with quantised scales (Dettmers et al., 2023, section 3)."""


class Batch(NamedTuple):
    """rows × tokens as they go through the model, padding included; labelled: tokens with a loss."""

    rows: int
    tokens: int
    labelled: int


class Memory(NamedTuple):
    """Bytes by what takes them, and the batch that decides."""

    parts: dict[str, int]
    batch: Batch

    @property
    def peak(self) -> int:
        """All of them."""
        return sum(self.parts.values())


def estimate(model: Model, settings: Settings, batches: Sequence[Batch], kind: str, precision: str) -> Memory:
    """Peak memory of training with `batches` in this order, on a `cpu` (of the process) or `gpu` (of the card)."""
    waste = WASTE["gpu" if kind == "gpu" else f"cpu {'float32' if precision == 'float32' else 'bfloat16'}"]
    needs = [(_activations(model, settings, batch, precision), _logits(model, batch, waste)) for batch in batches]
    longest, earlier = 0, 0
    for number in range(1, len(batches)):
        if sum(needs[number]) > sum(needs[longest]):
            earlier += sum(needs[longest])
            longest = number
    activations, logits = needs[longest]
    lengths = len({batch[:2] for batch in batches})
    parts = {
        "Python and libraries" if kind == "cpu" else "CUDA": BASE[kind],
        "weights": _weights(model, settings),
        "weights in bfloat16": _copies(model, settings, precision),
        "gradients": 4 * settings.trained,
        "optimizer": settings.state * settings.trained,
        "activations": activations,
        "logits": logits,
        "freed and not used again": round((waste.once - 1) * activations + waste.earlier * earlier),
        "kept of each length of batch": waste.shape * min(SHAPES, lengths),
    }
    if kind == "cpu":
        parts |= {"best weights so far": 4 * settings.trained, "writing the model": model.stored}
    parts["blocks of the allocator"] = round(waste.blocks * sum(parts.values()))
    return Memory({name: size for name, size in parts.items() if size}, batches[longest])


def _weights(model: Model, settings: Settings) -> int:
    """As they are held: float32 for full training, 4 bits in the layers for QLoRA, else as they are stored."""
    if settings.method == "full":
        converted = model.stored != 4 * model.parameters  # what is in the files stays mapped beside it
        return 4 * model.parameters + model.stored * converted
    if settings.method == "qlora":
        inside = model.in_layers
        rest = model.stored - sum(weight.bytes for weight in inside)
        return rest + round(QUANTISED * sum(weight.parameters for weight in inside))
    return model.stored + 4 * settings.trained


def _copies(model: Model, settings: Settings, precision: str) -> int:
    """What autocast makes of float32 weights and the backward pass needs again: those that gradients go through."""
    if precision == "float32" or settings.method == "qlora":
        return 0
    full = settings.method == "full"
    through = [weight for weight in model.in_layers if (weight.layer or 0) >= settings.first]
    head = model.vocabulary * model.hidden
    return 2 * (
        sum(weight.parameters for weight in through if full or weight.bytes == 4 * weight.parameters) + head * full
    )


def _activations(model: Model, settings: Settings, batch: Batch, precision: str) -> int:
    """Bytes that the backward pass needs of all layers that gradients go through."""
    layers = model.layers - settings.first
    one = _layer(model, settings, precision) + _mask(model, settings, batch, precision)
    if settings.checkpointing:  # the input of each layer, and one layer computed again (Chen et al., 2016)
        return batch.rows * batch.tokens * (layers * 4 * model.hidden + one)
    return batch.rows * batch.tokens * layers * one


def _layer(model: Model, settings: Settings, precision: str) -> int:
    """Bytes a token and layer that the backward pass needs.

    Counted with torch's saved_tensors_hooks: 2 inputs of norms; queries, keys and values (repeated for each head) and
    the output of attention; the inputs of matrix products, of which autocast makes one copy each; what the MLP's
    product and activation need.
    """
    width = 4 if precision == "float32" else 2
    full, lora = settings.method == "full", settings.method in ("lora", "qlora")
    hidden, inner, across = model.hidden, model.intermediate, model.heads * model.head
    copied = ["q_proj", "k_proj", "v_proj", "query", "key", "value", "gate_proj", "up_proj"]
    inputs = sum(full or name in settings.adapted for name in copied if _has(model, name))
    kept = 2 * 4 * hidden + 4 * across * width
    if full:
        kept += 2 * 4 * hidden  # what the norms' own weights are multiplied with
    if width == 2:
        kept += inputs * hidden * width
        if lora:  # PEFT takes these to float32, autocast back: one more copy
            kept += across * width * ("o_proj" in settings.adapted)
    else:  # nothing is copied: what norms give is what the products share
        kept += 2 * 4 * hidden * bool(inputs)
    kept += (3 if model.gated else 2) * inner * width
    if full or lora:
        kept += inner * width * (full or bool({"down_proj", "dense"} & settings.adapted))
    return kept


def _has(model: Model, name: str) -> bool:
    return any(weight.module == name for weight in model.in_layers)


def _mask(model: Model, settings: Settings, batch: Batch, precision: str) -> int:
    """Bytes a token and layer of attention's mask; eager attention keeps its matrices, before and after the softmax."""
    width = 4 if precision == "float32" else 2
    if settings.attention == "flash_attention_2":
        return 0
    matrices = model.heads * (width + 4) if settings.attention == "eager" else width
    return batch.tokens * matrices


def _logits(model: Model, batch: Batch, waste: Waste) -> int:
    """The tile of logits, and the hidden states that it is computed from again."""
    tile = min(batch.labelled, TILE_ROWS) * min(model.vocabulary, TILE_COLUMNS)
    return round(4 * waste.tiles * tile) + 4 * batch.labelled * model.hidden
