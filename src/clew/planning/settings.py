"""A training section of params.yaml, reduced to what memory and time depend on: the one place that knows its keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from clew.errors import ParamsError
from clew.planning.model import Model, Weight

if TYPE_CHECKING:
    from clew import params

OPTIMIZERS = {"adamw": 8, "adam": 8, "sgd": 0, "rmsprop": 4, "adafactor": 0, "adamw_8bit": 2, "paged_adamw_8bit": 2}
"""Bytes of state a trained parameter: two moments in float32 (Kingma and Ba, 2015), in 8 bits (Dettmers et al., 2022),
one mean square; Adafactor keeps sums of rows and columns only (Shazeer and Stern, 2018)."""


class Settings(NamedTuple):
    """method: full, lora, qlora, ia3, prompt or prefix. state: bytes of the optimizer a trained parameter.

    trained: parameters. first: the first layer through which gradients go. adapted: names of modules with an adapter.
    micro: rows at a time; of `auto`, which is settled later, all of a step.
    """

    method: str
    state: int
    trained: int
    first: int
    adapted: frozenset[str]
    batch: int
    micro: int
    epochs: float
    max_length: int
    precision: str
    attention: str
    checkpointing: bool
    packing: str


def of(section: params.Optimisation, model: Model, where: str) -> Settings:
    """The settings of a section for a model. where: the section's name, for the ParamsError of unknown modules."""
    method = str(section.method)
    targets, layers = _targets(section, model, where)
    return Settings(
        method=method,
        state=OPTIMIZERS[section.optimizer],
        trained=_trained(section, model, targets),
        first=min(layers, default=0),
        adapted=frozenset(weight.module for weight in targets),
        batch=section.batch_size,
        micro=section.batch_size if section.micro_batch_size == "auto" else int(section.micro_batch_size),
        epochs=section.epochs,
        max_length=section.max_length,
        precision=section.precision,
        attention=section.attention,
        checkpointing=section.gradient_checkpointing,
        packing=str(getattr(section, "packing", "none")),  # of sft alone
    )


def _targets(section: Any, model: Model, where: str) -> tuple[list[Weight], set[int]]:
    """The matrices that get an adapter, and their layers."""
    kind = {"qlora": "lora"}.get(section.method, section.method)
    if kind not in ("lora", "ia3"):
        return [], set()
    own = getattr(section, kind)
    last = min(getattr(own, "last_layers", model.layers), model.layers)
    found = [
        weight
        for weight in model.in_layers
        if weight.module in own.target_modules and (weight.layer or 0) >= model.layers - last
    ]
    missing = set(own.target_modules) - {weight.module for weight in model.in_layers}
    if missing:
        raise ParamsError(
            f"the model's layers have no {', '.join(sorted(missing))}",
            where=f"{where}.{kind}.target_modules",
            fix=f"They have: {', '.join(sorted({weight.module for weight in model.in_layers}))}.",
        )
    return found, {weight.layer or 0 for weight in found}


def _trained(section: Any, model: Model, targets: list[Weight]) -> int:
    """Trained parameters: LoRA's two matrices of `rank` (Hu et al., 2021), DoRA's magnitudes (Liu et al., 2024) …"""
    if section.method == "full":
        return model.parameters
    if section.method in ("lora", "qlora"):
        lora = section.lora
        return sum(lora.rank * sum(weight.shape) + (weight.shape[0] if lora.dora else 0) for weight in targets)
    if section.method == "ia3":  # one factor for each output, or input of a feed-forward module
        return sum(weight.shape[weight.module in section.ia3.feedforward_modules] for weight in targets)
    if section.method == "prompt":
        return int(section.prompt.tokens * model.hidden)
    return int(section.prefix.tokens * model.layers * 2 * model.kv_heads * model.head)
