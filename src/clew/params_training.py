"""The sections of params.yaml that train: `sft` and `align`, and what they share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from clew.params_section import Count, Name, Positive, Section, Share

Precision = Literal["auto", "float32", "bfloat16", "float16"]


class Lora(Section):
    """Low-rank adapters (Hu et al., 2021); `qlora` trains them on a base of 4 bits a weight (Dettmers et al., 2023)."""

    rank: Count
    """Of the update of each weight matrix."""
    alpha: Positive
    """The update is scaled by alpha / rank."""
    dropout: Share
    """Of the adapters' inputs, while training."""
    rslora: bool
    """Scale by alpha / sqrt(rank), which keeps high ranks learning (Kalajdzievski, 2023)."""
    dora: bool
    """Train the length of each weight vector beside its direction (Liu et al., 2024)."""
    target_modules: tuple[str, ...]
    """Names of the linear layers that get adapters."""
    last_layers: Count
    """Adapters on this many of the last layers."""


class Ia3(Section):
    """Vectors that scale activations (Liu et al., 2022)."""

    target_modules: tuple[str, ...]
    """Names of the linear layers that are scaled."""
    feedforward_modules: tuple[str, ...]
    """Those of them whose input is scaled; of the others, the output."""

    @model_validator(mode="after")
    def _among_them(self) -> Ia3:
        if other := sorted(set(self.feedforward_modules) - set(self.target_modules)):
            raise ValueError(f"feedforward_modules are not among target_modules: {', '.join(other)}")
        return self


class Prompt(Section):
    """Trained embeddings before the first token (Lester et al., 2021)."""

    tokens: Count
    """How many."""
    text: str | None
    """What they begin as; null: as tokens drawn from the vocabulary."""


class Prefix(Section):
    """Trained keys and values before the first token, in every layer (Li and Liang, 2021)."""

    tokens: Count
    """How many."""


def _warmup(value: float) -> float:
    if value < 0 or (isinstance(value, float) and value >= 1):
        raise ValueError("neither a share of the steps (0.0, 0.1) nor a number of them (0, 100)")
    return value


Optimizer = Literal["adamw", "adam", "sgd", "rmsprop", "adafactor", "adamw_8bit", "paged_adamw_8bit"]
Schedule = Literal[
    "linear",
    "cosine",
    "cosine_with_min_lr",
    "polynomial",
    "inverse_sqrt",
    "warmup_stable_decay",
    "constant",
    "constant_with_warmup",
]


class Divergence(Section):
    """A run is stopped whose loss has risen: mean of a window of steps above the first's and `factor` × the lowest."""

    window: Count
    """Steps."""
    factor: Annotated[float, Field(gt=1)]


class Optimisation(Section):
    """What every trainer shares."""

    method: Literal["full", "lora", "qlora", "ia3", "prompt", "prefix"]
    """What is trained: every weight, or an adapter. qlora is lora on a base of 4 bits a weight (bitsandbytes, nf4)."""
    lora: Lora | None
    """Of `lora` and `qlora`; else it may be null."""
    ia3: Ia3 | None
    """Of `ia3`; else it may be null."""
    prompt: Prompt | None
    """Of `prompt`; else it may be null."""
    prefix: Prefix | None
    """Of `prefix`; else it may be null."""
    merge: bool
    """Merge the adapter into the weights that are written; else it is written beside the weights of the base, as
    adapter/. Prompt and prefix cannot be merged."""
    optimizer: Optimizer
    """adam decays weights through the gradient, adamw apart from it (Loshchilov and Hutter, 2019); sgd is without
    momentum; adafactor takes learning_rate as it is; the 8-bit ones are bitsandbytes'."""
    learning_rate: Positive
    """At its peak."""
    schedule: Schedule
    """How the learning rate falls: linear and cosine to zero, cosine_with_min_lr to a tenth, polynomial as a parabola
    to zero, inverse_sqrt with one over the root of the step, warmup_stable_decay over the last tenth of the steps."""
    warmup: Annotated[int | float, AfterValidator(_warmup)]
    """Steps over which the learning rate rises from zero: a number of them, or a share below 1."""
    weight_decay: Annotated[float, Field(ge=0)]
    """Of all weights but biases and norms."""
    max_grad_norm: Positive | None
    """Longer gradients are shortened to this; null: none is."""
    batch_size: Count
    """Rows a step: what the model learns from at once, however it is split."""
    micro_batch_size: Count | Literal["auto"]
    """Rows at a time; a divisor of batch_size. Gradients are accumulated over the rest. auto: as many as an estimate
    says fit into memory, halved from batch_size."""
    epochs: Positive
    """How often each row is fed; the last may be a part."""
    max_length: Count
    """Tokens; longer rows are cut."""
    precision: Precision
    """Of matrix products while training. auto: bfloat16 where the device has it in hardware, else float32. float16:
    GPUs only, with a scaled loss."""
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"]
    """auto: flash_attention_2 where it is installed, on a GPU and in bfloat16, else sdpa."""
    gradient_checkpointing: bool
    """Compute activations a second time instead of keeping them: less memory, about a third slower."""
    liger: bool
    """Liger's fused kernels for norms, rotary embeddings and activations; GPUs only."""
    checkpoint_steps: Count
    """Write a resumable checkpoint every so many steps."""
    divergence: Divergence | None
    """null: go on whatever the loss does, unless it is no number."""

    @model_validator(mode="after")
    def _divides(self) -> Optimisation:
        if self.micro_batch_size != "auto" and self.batch_size % self.micro_batch_size:
            raise ValueError(f"micro_batch_size {self.micro_batch_size} does not divide batch_size {self.batch_size}")
        return self

    @model_validator(mode="after")
    def _has_its_adapter(self) -> Optimisation:
        section = {"qlora": "lora"}.get(self.method, self.method)
        if self.method != "full" and getattr(self, section) is None:
            raise ValueError(f"method is {self.method}, and its section `{section}` is null")
        if self.method in UNMERGEABLE and self.merge:
            raise ValueError(f"{self.method} cannot be merged into weights; set merge: false")
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> Optimisation:
        if self.schedule == "constant" and self.warmup:
            raise ValueError("schedule constant has no warm-up; take constant_with_warmup, or set warmup: 0")
        if self.method == "prefix" and self.gradient_checkpointing:
            raise ValueError("prefix keeps keys and values, so there is no gradient_checkpointing: set it false")
        if self.attention == "flash_attention_2" and self.precision == "float32":
            raise ValueError("flash_attention_2 takes no float32; set precision: bfloat16")
        return self


UNMERGEABLE = ("prompt", "prefix")


class Sft(Optimisation):
    """Supervised fine-tuning: TRL's SFTTrainer, loss on the completion only."""

    packing: Literal["none", "padding_free", "bfd"]
    """none: rows of like length are padded to the longest of the batch. padding_free: those of a micro-batch stand end
    to end in one sequence. bfd: rows are put together into sequences of at most max_length tokens (best-fit decreasing)
    and batch_size counts such sequences. Rows never see each other, which is proven before training."""
    eval_steps: Count
    """Measure the validation loss every so many steps."""
    patience: Count
    """Stop after so many measurements without a better one; the best weights are kept."""

    @model_validator(mode="after")
    def _keeps_rows_apart(self) -> Sft:
        if self.packing != "none" and self.method in UNMERGEABLE:
            raise ValueError(f"{self.method} stands before a sequence, not before each row in it; set packing: none")
        return self


class Align(Optimisation):
    """Preference training from the sft model (DPO, Rafailov et al., 2023), or a pass-through. Pairs weigh alike."""

    enabled: bool
    algorithm: Literal["dpo"]
    tasks: tuple[Name, ...]
    pairs: Count
    """Preference pairs at most, taken evenly from the tasks."""
    beta: Positive
