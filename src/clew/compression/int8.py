"""Weights of the linear layers as 8-bit integers, with one scale for each output channel (torchao).

The embeddings stay in bfloat16. In small models they double as the output layer, so as integers they would have to
be stored twice, which saves nothing, and the output layer is the most sensitive one.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from clew import io
from clew.errors import ModelError
from clew.training.encoder import auto_class
from clew.training.loop import copy_all_but_weights


def compress(source: Path, target: Path, activations: str) -> None:
    """Write the model folder `source` as int8 to the folder `target`: safetensors, no pickle.

    activations: weight_only (computed in bfloat16) or dynamic (activations become int8 as they come).
    The work is done on the CPU, so that every machine writes the same bytes.
    """
    import torch
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig
    from transformers import AutoConfig, TorchAoConfig

    # Version 2 of these formats is the one that torchao writes as safetensors.
    scheme = {"weight_only": Int8WeightOnlyConfig, "dynamic": Int8DynamicActivationInt8WeightConfig}[activations]
    described = AutoConfig.from_pretrained(source, trust_remote_code=False)
    auto = auto_class(described)
    model = auto.from_pretrained(
        source,
        dtype=torch.bfloat16,
        device_map="cpu",
        quantization_config=TorchAoConfig(scheme(version=2), modules_to_not_convert=_heads(auto, described)),
        use_safetensors=True,
        trust_remote_code=False,
    )
    _check(model, source)
    model.save_pretrained(target)
    for path in sorted(target.glob("*.safetensors")):
        sort_header(path)
    config = (target / "config.json").read_bytes()  # says how the weights are stored
    copy_all_but_weights(source, target)
    (target / "config.json").write_bytes(config)


def _heads(auto: Any, config: Any) -> list[str] | None:
    """An encoder's head, which is small and its output; None of a decoder, whose head transformers itself leaves."""
    import torch
    from transformers import AutoModelForCausalLM

    if auto is AutoModelForCausalLM:
        return None
    with torch.device("meta"):
        model = auto.from_config(config, trust_remote_code=False)
    return [name for name, _ in model.named_children() if name != model.base_model_prefix]


def sort_header(path: Path) -> None:
    """Write a safetensors file's header in one order: the library writes its metadata in a random one.

    A file is eight bytes (the header's length, little endian), the header as JSON, then the tensors.
    """
    aside = path.with_suffix(".sorted")
    with path.open("rb") as source, aside.open("wb") as target:
        header = json.loads(source.read(int.from_bytes(source.read(8), "little")))
        text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # tensors start at a multiple of eight
        target.write(len(text).to_bytes(8, "little") + text)
        shutil.copyfileobj(source, target, io.CHUNK)
    aside.replace(path)


def quantised(model: Any) -> dict[str, bool]:
    """For each linear layer: whether its weight is stored as int8."""
    import torch
    from torchao.quantization import Int8Tensor

    return {
        name: isinstance(module.weight, Int8Tensor)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }


def _check(model: Any, source: Path) -> None:
    if not any(quantised(model).values()):
        raise ModelError(
            "no layer of the model could be stored as int8",
            where=str(source),
            fix="Leave int8 out of compress.methods for this architecture.",
        )
