"""The sections of params.yaml that train: `sft` and `align`, and what they share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from clew.params_section import Count, Name, Positive, Section, Share

Precision = Literal["auto", "float32", "bfloat16"]


class Lora(Section):
    """Low-rank adapters (Hu et al., 2021)."""

    rank: Count
    alpha: Positive
    dropout: Share
    target_modules: tuple[str, ...]
    last_layers: Count
    """Adapters on this many of the last layers."""


class Optimisation(Section):
    """What every trainer shares."""

    method: Literal["lora", "full"]
    lora: Lora
    learning_rate: Positive
    batch_size: Count
    """Rows a step."""
    micro_batch_size: Count
    """Rows at a time; a divisor of batch_size. Gradients are accumulated over the rest."""
    epochs: Positive
    warmup_ratio: Share
    schedule: Literal["linear", "cosine", "constant"]
    weight_decay: Annotated[float, Field(ge=0)]
    max_grad_norm: Positive
    max_length: Count
    """Tokens; longer rows are cut."""
    precision: Precision
    checkpoint_steps: Count
    """Write a resumable checkpoint every so many steps."""

    @model_validator(mode="after")
    def _divides(self) -> Optimisation:
        if self.batch_size % self.micro_batch_size:
            raise ValueError(f"micro_batch_size {self.micro_batch_size} does not divide batch_size {self.batch_size}")
        return self


class Sft(Optimisation):
    """Supervised fine-tuning: TRL's SFTTrainer, loss on the completion only."""

    eval_steps: Count
    """Measure the validation loss every so many steps."""
    patience: Count
    """Stop after so many measurements without a better one; the best weights are kept."""


class Align(Optimisation):
    """Preference training from the sft model (DPO, Rafailov et al., 2023), or a pass-through. Pairs weigh alike."""

    enabled: bool
    algorithm: Literal["dpo"]
    tasks: tuple[Name, ...]
    pairs: Count
    """Preference pairs at most, taken evenly from the tasks."""
    beta: Positive
