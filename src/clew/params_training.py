"""The sections of params.yaml that train: `sft`, `reward` and `align`, and what they share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from clew.params_section import Count, Name, Positive, Regex, Section, Share

Precision = Literal["auto", "float32", "bfloat16", "float16"]


class Model(Section):
    """What kind of model is trained."""

    kind: Literal["decoder", "encoder"]
    """decoder: writes answers to prompts (SmolLM2, Llama). encoder: labels or tags texts (BERT, MiniLM): its tasks are
    of kind `label` and `labels`, or of kind `tags`, and it reads `text`, not the prompt."""


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
    target_modules: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names of the linear layers that get adapters."""
    last_layers: Count
    """Adapters on this many of the last layers."""


class Ia3(Section):
    """Vectors that scale activations (Liu et al., 2022)."""

    target_modules: Annotated[tuple[str, ...], Field(min_length=1)]
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
    """Times the lowest mean loss of a window."""


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
    launch: Name | None
    """null: in one process. Else the name of a file in configs/: the stage starts itself again by `accelerate launch`
    in as many processes as that says (docs/scale.md). batch_size stays what all of them learn from at once,
    micro_batch_size is of each."""
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


class Reward(Optimisation):
    """A reward model from preference pairs (Bradley and Terry, 1952; TRL's RewardTrainer), or none."""

    enabled: bool
    """false: no reward model is made."""
    tasks: tuple[Name, ...]
    """Tasks whose rows have a rejected answer."""
    rows: Count
    """Preference pairs at most, taken evenly from the tasks. Each counts in the loss as much as its row weighs."""
    center: Annotated[float, Field(ge=0)]
    """Pulls the rewards to a mean of 0 (Eisenstein et al., 2023, recommend 0.01)."""
    bins: Count
    """Of the reliability diagram and the expected calibration error, on the valid split's pairs."""
    resamples: Annotated[int, Field(ge=100)]
    """Of the bootstrap that its intervals come from."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    """Of the intervals."""


class Dpo(Section):
    """Direct preference optimisation (Rafailov et al., 2023), without a reward model."""

    loss: Literal["sigmoid", "ipo", "hinge", "robust"]
    """sigmoid: the paper's. ipo: Azar et al. (2023). hinge: Zhao et al. (2023). robust: Chowdhury et al. (2024)."""
    beta: Positive
    """How dear it is to move away from the sft model; with `ipo` its tau."""
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)]
    """With `robust`: the probability that a pair is the wrong way round; else 0."""
    row_weights: bool
    """Whether a pair counts as much as its row weighs. Pairs are then computed one by one, which is slower on a GPU."""

    @model_validator(mode="after")
    def _smoothing(self) -> Dpo:
        if (self.loss == "robust") != (self.label_smoothing > 0):
            raise ValueError("`label_smoothing` goes with `loss: robust`, and is 0 otherwise")
        return self


class Kto(Section):
    """Learning from answers that are wanted or not, unpaired (KTO, Ethayarajh et al., 2024)."""

    beta: Positive
    """How dear it is to move away from the sft model."""
    wanted_weight: Positive
    """Of the losses of wanted answers."""
    unwanted_weight: Positive
    """Of those of unwanted ones. The paper wants wanted_weight times the number of wanted answers, by the same of the
    others, within 1 to 4/3."""
    row_weights: bool
    """Whether an answer counts as much as its row weighs, in the loss and in the estimate of how far the model went."""


class ModelReward(Section):
    """What the reward model says."""

    kind: Literal["model"]
    weight: float
    """Of this term in the sum."""


class RightReward(Section):
    """1 where the answer is the row's completion (case and punctuation aside), else 0."""

    kind: Literal["right"]
    weight: float
    """Of this term in the sum."""


class LengthReward(Section):
    """1 up to so many words; beyond, that many by the words there are."""

    kind: Literal["length"]
    words: Count
    """Up to which the reward is 1."""
    weight: float
    """Of this term in the sum."""


class FormatReward(Section):
    """1 where the whole answer matches the pattern, else 0."""

    kind: Literal["format"]
    pattern: Regex
    weight: float
    """Of this term in the sum."""


class RepetitionReward(Section):
    """The share of an answer's n-grams of words that came before in it: give it a negative weight."""

    kind: Literal["repetition"]
    ngram: Count
    """Words."""
    weight: float
    """Of this term in the sum."""


class FileReward(Section):
    """A function of yours, in a file below rewards/ (see rewards/README.md)."""

    kind: Literal["file"]
    file: str
    """Its path within rewards/."""
    function: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    """Its name in the file."""
    weight: float
    """Of this term in the sum."""


RewardTerm = Annotated[
    ModelReward | RightReward | LengthReward | FormatReward | RepetitionReward | FileReward,
    Field(discriminator="kind"),
]


class Hacking(Section):
    """When to warn that the reward is being gamed: answers that change beyond these bounds while the reward rises."""

    steps: Count
    """Steps at either end that are compared by their means."""
    length: Annotated[float, Field(gt=1)]
    """Mean length by that of the start: warned of above it, and below 1 / it."""
    repetition: Share
    """Rise of the share of repeated 3-grams of tokens within an answer."""
    distinct: Share
    """Fall of distinct-2 (Li et al., 2016): different pairs of neighbouring tokens by all of them, in a step."""
    kl: Positive
    """Mean Kullback-Leibler divergence from the sft model, in nats a token."""


class Online(Section):
    """What rloo and grpo share: answers are drawn from the model as it is, and rewarded."""

    generations: Annotated[int, Field(ge=2)]
    """Answers a prompt; a divisor of batch_size, which counts answers."""
    max_new_tokens: Count
    """Of a drawn answer."""
    temperature: Positive
    """At which answers are drawn."""
    beta: Positive
    """Weight of the Kullback-Leibler divergence from the sft model."""
    epsilon: Annotated[float, Field(gt=0, lt=1)]
    """Clips the ratio of probabilities (as PPO does)."""
    rewards: Annotated[tuple[RewardTerm, ...], Field(min_length=1)]
    """Added up, each with its weight."""
    hacking: Hacking


class Rloo(Online):
    """REINFORCE against the mean of a prompt's other answers (RLOO, Ahmadian et al., 2024)."""

    normalize_advantages: bool
    """Whether the advantages of a step are brought to a mean of 0 and a deviation of 1."""


class Grpo(Online):
    """Group relative policy optimisation (Shao et al., 2024)."""

    loss: Literal["grpo", "bnpo", "dr_grpo", "dapo"]
    """How tokens are averaged: grpo within answers, bnpo over the batch, dr_grpo over max_new_tokens, dapo over all."""
    scale_rewards: Literal["group", "batch", "none"]
    """Whose standard deviation rewards are divided by."""


class HeldOut(Section):
    """The sft and the aligned model on rows of the valid split: which answers they prefer, which the rewards prefer."""

    rows: Count
    """Rows at most, taken evenly from the tasks."""
    max_new_tokens: Count
    """Of their answers, which the reward model compares (without one they are not written)."""
    resamples: Annotated[int, Field(ge=100)]
    """Of the bootstrap that its intervals come from."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    """Of the intervals."""


class Align(Optimisation):
    """RLHF from the sft model: from preferences or from rewards, or a pass-through."""

    enabled: bool
    """false: the sft model is passed on, byte for byte."""
    algorithm: Literal["dpo", "kto", "rloo", "grpo"]
    """Its section below is set, the others are null."""
    tasks: tuple[Name, ...]
    """Whose rows are learnt from."""
    rows: Count
    """Rows at most, taken evenly from the tasks: pairs for dpo, rated rows for kto, prompts for rloo and grpo."""
    held_out: HeldOut | None
    dpo: Dpo | None
    kto: Kto | None
    rloo: Rloo | None
    grpo: Grpo | None
