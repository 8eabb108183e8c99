"""How many rows go through the model at a time where params.yaml says `auto`: as many as an estimate lets fit.

Gradients are summed over the rest of a batch, so what is learnt is the same to the rounding of sums (1e-5), and for the
bytes to be the same a run that goes on from a checkpoint keeps the number that it began with. For their sake, too, the
estimate is a simple one that stays as it is: `clew plan` has a better one, which follows what is measured.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from clew.training import processes

if TYPE_CHECKING:
    from clew import params
    from clew.training.device import Device

    Section = TypeVar("Section", bound=params.Optimisation)

FILE = "micro_batch_size.json"
SHARE = 0.8  # of the machine's memory: the rest is for what else runs
ACTIVATIONS = 34  # values a token, hidden unit and layer that the backward pass needs (Korthikanti et al., 2022, eq. 2)
LOGITS = 3  # copies of a labelled token's logits: themselves, their softmax, its gradient
ADAM = 16  # bytes a trained weight: itself, its gradient and two moments in float32


def settle(section: Section, folder: Path, model: Path, longest: int, where: Device) -> Section:
    """The section with a number for `micro_batch_size: auto`: a process's rows of a step, halved until they fit.

    folder: of the checkpoints, where the number is kept for a run that goes on. model: folder of the model to train.
    longest: tokens of the longest row. The machine's whole memory counts, not what is free of it now, so that one
    machine makes the same bytes each time.
    """
    if section.micro_batch_size != "auto":
        return section
    size = processes.share(_size(section, folder / FILE, model, longest, where) if processes.is_main() else 0)
    return section.model_copy(update={"micro_batch_size": size})


def _size(section: params.Optimisation, file: Path, model: Path, longest: int, where: Device) -> int:
    if file.exists():
        return int(json.loads(file.read_text(encoding="utf-8")))
    size, limit = section.batch_size // processes.count(), SHARE * total(where.name)
    if where.name == "cpu":
        limit /= processes.here()
    while size % 2 == 0 and peak(section, model, size * longest, where) > limit:
        size //= 2
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(size), encoding="utf-8")
    return size


def peak(section: params.Optimisation, model: Path, tokens: int, where: Device) -> float:
    """Estimated bytes at the peak of a step through which `tokens` tokens go at a time."""
    from transformers import AutoConfig

    config: Any = AutoConfig.from_pretrained(model, trust_remote_code=False).get_text_config()
    stored = sum(path.stat().st_size for path in model.glob("*.safetensors"))
    of_one = {"bfloat16": 2, "float16": 2}.get(str(config.dtype).removeprefix("torch."), 4)
    weights = stored / of_one * ADAM if section.method == "full" else stored
    width = 4 if where.precision == "float32" else 2
    layers = 1 if section.gradient_checkpointing else config.num_hidden_layers
    kept = layers * ACTIVATIONS + (config.num_hidden_layers if section.gradient_checkpointing else 0)
    return float(weights + tokens * (kept * config.hidden_size * width + LOGITS * config.vocab_size * 4))


def total(device: str) -> int:
    """Bytes of memory of the device; of a CPU what its control group allows, if less."""
    import psutil
    import torch

    if device == "cuda":
        return int(torch.cuda.get_device_properties(0).total_memory)
    whole = int(psutil.virtual_memory().total)
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text(encoding="utf-8").strip() if limit.exists() else "max"
    return min(whole, int(text)) if text.isdecimal() else whole
