"""How long training takes: its floating-point operations over what the machine manages of them.

A token costs 2 operations a parameter that it is multiplied with on its way forward, and twice that backward: once for
the gradient of what came in, once for that of the weights (Kaplan et al., 2020, arXiv:2001.08361, section 2.1). Frozen
weights need no second, and layers below the first adapter no backward at all. Attention adds 4 x tokens x width a token
and layer (Chowdhery et al., 2022, arXiv:2204.02311, appendix B). What the machine manages comes from a finished run of
this stage here, else from a measured matrix product, and of a GPU of the table from its peak.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from clew.planning.gpus import Machine
from clew.planning.memory import Batch
from clew.planning.model import Model
from clew.planning.settings import Settings
from clew.planning.workload import Workload

UTILISATION = 0.35
"""Of a GPU's peak in training: PaLM reached 46 %, GPT-3 21 % (Chowdhery et al., 2022, table 3)."""
EFFICIENCY = 0.3
"""Of a bare matrix product's operations a second, in training on a CPU: of 878 GFLOP/s in bfloat16 on the 2 cores where
it was looked at, sft of the default experiment reached 25 %, its validation included, align 51 %."""
LAUNCH = 0.001
"""Seconds a layer and micro-batch that a GPU needs at least, however little there is to do: about 150 kernels, forward
and backward, at 5 to 10 microseconds each. An assumption."""
AROUND = 15.0
"""Seconds for imports, reading and writing where no finished run tells them."""
SIDE = 2048
"""Rows and columns of the matrices that are multiplied to measure this machine."""


class Time(NamedTuple):
    """seconds: None where the tokens are not known. source: what the estimate is from."""

    seconds: float | None
    source: str


def flops(model: Model, settings: Settings, batches: tuple[Batch, ...], *, forward_again: int = 0) -> float:
    """Operations of all micro-batches, padding included. forward_again: passes without gradients (DPO's reference)."""
    inside = dict.fromkeys(range(model.layers), 0)
    for weight in model.in_layers:
        inside[weight.layer or 0] = inside.get(weight.layer or 0, 0) + weight.parameters
    backward = sum(count for layer, count in inside.items() if layer >= settings.first)
    whole, full = sum(inside.values()), settings.method == "full"
    through = model.layers - settings.first
    across = model.heads * model.head
    total = 0.0
    for rows, tokens, labelled in batches:
        fed = rows * tokens
        attention = 4 * tokens * across
        forward = fed * (2 * whole + model.layers * attention)
        back = fed * (2 * backward * (2 if full else 1) + 2 * through * attention)
        again = fed * (2 * backward + through * attention) if settings.checkpointing else 0
        head = 2 * labelled * model.vocabulary * model.hidden
        total += forward * (1 + forward_again) + back + again + head * (3 + full + forward_again)
        total += 4 * fed * settings.trained * (not full)
    return total


def estimate(
    model: Model,
    settings: Settings,
    work: Workload,
    machine: Machine,
    *,
    precision: str,
    passes: int,
    finished: Finished | None,
) -> Time:
    """Seconds that a stage takes. passes: forward passes beside training. finished: an earlier run here."""
    if work.tokens is None:
        return Time(None, "how many rows there will be is not known")
    operations = flops(model, settings, work.batches, forward_again=passes)
    if machine.kind == "gpu":
        if machine.flops is None:
            return Time(None, f"the peak of {machine.name} is not in the table")
        peak = machine.flops / (1 if precision != "float32" else 8)
        seconds = max(operations / (UTILISATION * peak), LAUNCH * model.layers * len(work.batches))
        floor = seconds > operations / (UTILISATION * peak)
        source = f"{UTILISATION:.0%} of {peak / 1e12:.0f} TFLOP/s ({machine.source})"
        if floor:
            source = f"{LAUNCH * 1000:.0f} ms a layer and micro-batch: batches this small leave the GPU waiting"
        return Time(AROUND + seconds, source)
    if finished is not None:
        return Time(
            finished.around + operations / finished.flops,
            f"{finished.flops / 1e9:.0f} GFLOP/s of the finished run in {finished.source}",
        )
    rate = EFFICIENCY * measured(precision)
    return Time(AROUND + operations / rate, f"{EFFICIENCY:.0%} of a matrix product in {precision} measured now")


class Finished(NamedTuple):
    """A run on this machine. flops: operations a second. around: seconds beside training itself."""

    flops: float
    around: float
    source: str


def finished(
    record: Path, hardware: Mapping[str, Any], operations: float, examples: int, unit: str, name: str
) -> Finished | None:
    """The finished run that a runtime record tells of; None where there is none of this machine.

    operations: that the same run would take by `flops`. examples: what `unit` (a fact of the record, such as
    `tokens_per_second`) counts, of the whole run. name: of the record, for people.
    """
    try:
        told = json.loads(record.read_text(encoding="utf-8"))
        there, facts = told["hardware"], told["facts"]
        same = all(there.get(name) == hardware.get(name) for name in ("cpu", "cores", "gpu", "system"))
        if not same or facts.get("resumed_from_step") or not facts.get(unit):
            return None
        training = examples / facts[unit]
        return Finished(operations / training, max(told["seconds"] - training, 0.0), name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError):
        return None


def measured(precision: str) -> float:
    """Operations a second of a matrix product on this machine's processor: the best of three, in about a second."""
    import torch

    one = torch.ones(SIDE, SIDE, dtype=getattr(torch, precision))
    best = 0.0
    with torch.no_grad():
        for _ in range(3):
            started = time.perf_counter()
            one @ one
            best = max(best, 2 * SIDE**3 / (time.perf_counter() - started))
    return best
