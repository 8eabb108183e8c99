"""Early stopping: the best weights so far, kept with each checkpoint so that a resumed run knows them too."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STATE, WEIGHTS = "best.json", "best.safetensors"


@dataclass
class Best:
    """loss, step: of the best measurement (None before the first). worse: measurements since then."""

    patience: int
    loss: float | None = None
    step: int = 0
    worse: int = 0
    weights: dict[str, Any] = field(default_factory=dict)

    def consider(self, loss: float, step: int, model: Any) -> bool:
        """Take note of a measurement, copy the trained weights if it is the best; whether to stop now."""
        if self.loss is None or loss < self.loss:
            self.loss, self.step, self.worse, self.weights = loss, step, 0, trained_weights(model)
        else:
            self.worse += 1
        return self.worse >= self.patience

    def save(self, folder: Path) -> None:
        """Write what `load` reads."""
        from safetensors.torch import save_file

        state = {"loss": self.loss, "step": self.step, "worse": self.worse}
        (folder / STATE).write_text(json.dumps(state), encoding="utf-8")
        save_file(self.weights, folder / WEIGHTS)

    def load(self, folder: Path) -> None:
        """Become what was saved in `folder`."""
        from safetensors.torch import load_file

        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        self.loss, self.step, self.worse = state["loss"], state["step"], state["worse"]
        self.weights = load_file(folder / WEIGHTS)


def trained_weights(model: Any) -> dict[str, Any]:
    """A copy, on the CPU, of every parameter that is trained: name → tensor.

    Of a model that is spread over processes all of them must ask, and each gets the whole.
    """
    return {
        name: _whole(parameter).detach().cpu().clone().contiguous()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def _whole(parameter: Any) -> Any:
    """A parameter that FSDP or DeepSpeed has in parts, put together; DeepSpeed's in float32, as it is trained."""
    if hasattr(parameter, "full_tensor"):
        return parameter.full_tensor()
    if hasattr(parameter, "ds_id"):
        from deepspeed.utils import safe_get_full_fp32_param

        return safe_get_full_fp32_param(parameter)
    return parameter


def put_weights(model: Any, weights: dict[str, Any]) -> None:
    """Set the parameters that `trained_weights` copied."""
    import torch

    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in weights.items():
            parameters[name].copy_(tensor)
