"""What sections that train say about each other, and an encoder about the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from clew.errors import ParamsError
from clew.launch import read as read_launch
from clew.params_problem import Check, Path, Problem, is_within, unknown
from clew.params_training import UNMERGEABLE, Optimisation
from clew.training.data import MIN_PROMPT

if TYPE_CHECKING:
    from clew.params import Params

ALGORITHMS = ("dpo", "kto", "rloo", "grpo")


def _reward(p: Params) -> Iterator[Problem]:
    if p.reward.enabled and not p.reward.tasks:
        yield ("reward", "tasks"), "is empty; name a task whose rows have a rejected answer, or set enabled: false"
    yield from _paired(p, "reward", p.reward.tasks, needed=p.reward.enabled)
    if p.reward.enabled and (p.reward.method not in ("full", "lora", "ia3") or not p.reward.merge):
        yield ("reward", "method"), "a reward model is trained full, or by lora or ia3 with merge: true"
    if p.reward.enabled and _beside(p.sft):
        yield ("reward", "enabled"), "wants a whole model to start from: set sft.merge: true"


def _align(p: Params) -> Iterator[Problem]:
    if p.align.enabled and not p.align.tasks:
        yield ("align", "tasks"), "is empty; name a task whose rows have a rejected answer, or set align.enabled: false"
    held_out = p.align.held_out
    if p.align.enabled and held_out and p.align.max_length - held_out.max_new_tokens < MIN_PROMPT:
        path: Path = ("align", "held_out", "max_new_tokens")
        yield path, f"leaves no {MIN_PROMPT} tokens of align.max_length for a prompt"
    if p.align.enabled and p.align.method in ("lora", "qlora") and p.align.lora and p.align.lora.dropout:
        yield ("align", "lora", "dropout"), "must be 0: TRL compares the policy with its reference without dropout"
    yield from _paired(p, "align", p.align.tasks, needed=p.align.enabled and p.align.algorithm == "dpo")


def _paired(p: Params, section: str, tasks: Sequence[str], *, needed: bool) -> Iterator[Problem]:
    """Tasks that are declared, and where it is needed have pairs of answers."""
    for index, task in enumerate(tasks):
        path: Path = (section, "tasks", index)
        yield from unknown(path, task, sorted(p.prepare.tasks))
        if getattr(p, section).enabled and task in p.split.limits and not p.split.limits[task].train:
            yield path, f"`{task}` has no rows to learn from: split.limits.{task}.train is 0"
        if needed and getattr(p.prepare.tasks.get(task), "wanted", None):
            yield path, f"`{task}` has single answers, wanted or not, and no pairs: take align.algorithm: kto"
        elif needed and task in p.prepare.tasks and not _has_rejected(p.prepare.tasks[task]):
            yield path, f"`{task}` has no rejected answers; set prepare.tasks.{task}.rejected: true, or take it out"


def _adapters(p: Params) -> Iterator[Problem]:
    """What is made of a model whose adapter is not merged."""
    if p.align.enabled and p.sft.method in UNMERGEABLE and p.align.method != p.sft.method:
        yield ("align", "method"), f"sft leaves a {p.sft.method}, which align can only train on: set {p.sft.method}"
    if p.align.enabled and p.align.method in UNMERGEABLE and p.align.algorithm != "dpo":
        yield ("align", "method"), f"{p.align.method} is trained with algorithm: dpo only"
    if p.align.enabled and p.align.method in ("full", "qlora") and _beside(p.sft):
        yield ("align", "method"), f"{p.align.method} wants a whole model to start from: set sft.merge: true"
    last = "align" if p.align.enabled else "sft"
    if p.compress.methods and _beside(getattr(p, last)):
        yield (
            ("compress", "methods"),
            f"{last} leaves its adapter beside the model, and only whole models are compressed",
        )


def _beside(section: Optimisation) -> bool:
    """Whether a section leaves its adapter beside the model."""
    return section.method != "full" and not section.merge


def _bitsandbytes(p: Params) -> Iterator[Problem]:
    if not _is_installed("bitsandbytes"):
        for name in _trained():
            for key, wants in (("method", ("qlora",)), ("optimizer", ("adamw_8bit", "paged_adamw_8bit"))):
                if (value := getattr(getattr(p, name), key)) in wants:
                    yield (name, key), f"{value} wants the package bitsandbytes, which is not installed"


def _launch(p: Params) -> Iterator[Problem]:
    """What is launched in several processes: as the configuration and this machine say, whole shares for each."""
    for name in _trained():
        section = getattr(p, name)
        if section.launch is None or not getattr(section, "enabled", True):
            continue
        try:
            launch, _ = read_launch(section.launch)
        except ParamsError as error:
            yield (name, "launch"), f"{error.what}. {error.fix}"
            continue
        micro = 1 if section.micro_batch_size == "auto" else section.micro_batch_size
        if section.batch_size % (micro * launch.processes):
            rows = f"{launch.processes} processes of {micro} rows" if micro > 1 else f"{launch.processes} processes"
            yield (name, "batch_size"), f"{section.batch_size} cannot be shared out evenly among {rows}"
        yield from _wrapped(name, section, launch.wrapper)
        if launch.processes > 1 and name == "align":
            yield from _together(p)


def _wrapped(name: str, section: Optimisation, wrapper: str) -> Iterator[Problem]:
    """What cannot be put into parts."""
    if wrapper not in ("fsdp", "zero3"):
        return
    if section.method in ("qlora", *UNMERGEABLE):
        yield (
            (name, "method"),
            f"{section.method} is not trained under {wrapper}, which spreads weights: launch it by ddp",
        )
    if section.optimizer in ("adamw_8bit", "paged_adamw_8bit"):
        yield (name, "optimizer"), f"{section.optimizer} takes no weights in parts, as {wrapper} has them; take adamw"
    if wrapper == "zero3" and not _is_installed("deepspeed"):
        yield (name, "launch"), "ZeRO wants the package deepspeed, which is not installed"


def _together(p: Params) -> Iterator[Problem]:
    """Algorithms that know of one process only."""
    if p.align.algorithm in ("rloo", "grpo"):
        yield (
            ("align", "launch"),
            f"{p.align.algorithm} draws and compares the answers of a step in one process; set it to null",
        )
    if p.align.algorithm == "dpo" and p.align.dpo and p.align.dpo.row_weights:
        yield (
            ("align", "dpo", "row_weights"),
            "has the model asked once for each pair before it learns, which several processes cannot; set it false, or"
            " align.launch to null",
        )


def _is_installed(package: str) -> bool:
    from importlib import metadata

    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _trained() -> list[str]:
    """The names of the sections that train."""
    from clew.params import Params

    kinds = {name: field.annotation for name, field in Params.model_fields.items()}
    return [name for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Optimisation)]


def _has_rejected(mapping: Any) -> bool:
    return mapping.kind == "ratings" or bool(getattr(mapping, "rejected", None))


def _verdicts(mapping: Any) -> set[bool]:
    """Whether a task may have answers that are wanted (True), and that are not (False)."""
    if wanted := getattr(mapping, "wanted", None):
        return set(wanted.values.values())
    return {True, not _has_rejected(mapping)}


def _imitated(p: Params) -> Iterator[Problem]:
    """A task of unwanted answers only, and none beside it, leaves sft nothing to imitate."""
    used = [p.prepare.tasks[task] for task in _used(p)]
    if used and not any(True in _verdicts(mapping) for mapping in used):
        yield ("prepare", "tasks"), "all answers are unwanted (`wanted`), and sft imitates those that are wanted"


def _algorithm(p: Params) -> Iterator[Problem]:
    """The algorithm's own section is set, and the others are not: what is set and does nothing would mislead."""
    for name in ALGORITHMS:
        is_set = getattr(p.align, name) is not None
        if is_set and name != p.align.algorithm:
            yield ("align", name), f"is set, and align.algorithm is `{p.align.algorithm}`: set one or the other"
        if not is_set and name == p.align.algorithm:
            yield ("align", name), f"is null, and align.algorithm is `{name}`: docs/training.md has an example"


def _kto(p: Params) -> Iterator[Problem]:
    if not p.align.enabled or p.align.algorithm != "kto":
        return
    tasks = [p.prepare.tasks[task] for task in p.align.tasks if task in p.prepare.tasks]
    for wanted, lack in ((True, "answers that are wanted"), (False, "rejected answers")):
        if tasks and not any(wanted in _verdicts(task) for task in tasks):
            yield ("align", "tasks"), f"none has {lack}: KTO learns from wanted answers and from others"
    if p.align.micro_batch_size == "auto":
        yield ("align", "micro_batch_size"), "must be a number: KTO's loss follows how many answers go at a time"
    elif 1 in (p.align.micro_batch_size, p.align.batch_size):
        yield ("align", "micro_batch_size"), "must be 2 or more: KTO compares an answer with those beside it"


def _online(p: Params) -> Iterator[Problem]:
    """What rloo and grpo need: whole groups of answers in a batch, room for a prompt, rewards that are there."""
    name = p.align.algorithm
    online = getattr(p.align, name)
    if not p.align.enabled or name not in ("rloo", "grpo") or online is None:
        return
    path: Path = ("align", name)
    if p.align.batch_size % online.generations:
        yield (*path, "generations"), f"{online.generations} does not divide align.batch_size {p.align.batch_size}"
    if p.align.max_length - online.max_new_tokens < MIN_PROMPT:
        yield (*path, "max_new_tokens"), f"leaves no {MIN_PROMPT} tokens of align.max_length for a prompt"
    for index, term in enumerate(online.rewards):
        where = (*path, "rewards", index)
        if term.kind == "model" and not p.reward.enabled:
            yield (*where, "kind"), "is `model`, and reward.enabled is false: there is no reward model"
        if term.kind == "file" and not (is_within(term.file) and term.file.endswith(".py")):
            yield (*where, "file"), f"`{term.file}` is no .py file below rewards/"
    if p.align.divergence is not None:
        yield ("align", "divergence"), f"must be null: the loss of {name} does not fall while it learns"
    if getattr(online, "loss", None) == "bnpo" and p.align.micro_batch_size != p.align.batch_size:
        yield (*path, "loss"), "bnpo is a mean over what goes at a time: set align.micro_batch_size to batch_size"
    if not any(term.weight for term in online.rewards):
        yield (*path, "rewards"), "weigh 0 in all: nothing would be learnt"


def _used(p: Params) -> dict[str, str]:
    """The kind of each task that has rows on any side."""
    limits = p.split.limits
    none = {task for task, sides in limits.items() if not (sides.train or sides.valid or sides.test)}
    return {task: mapping.kind for task, mapping in p.prepare.tasks.items() if task not in none}


LABELLED, TAGGED = ("label", "labels"), ("tags",)
"""Kinds of tasks that share an encoder's head."""


def _encoder_tasks(p: Params) -> Iterator[Problem]:
    """An encoder has one head: for labels or for tags, of tasks that it is trained on."""
    if p.model.kind != "encoder":
        return
    used = _used(p)
    for task, kind in used.items():
        if kind not in (*LABELLED, *TAGGED):
            yield (
                ("prepare", "tasks", task, "kind"),
                (f"an encoder learns labels or tags, not `{kind}`; take a decoder, or set split.limits.{task} to 0"),
            )
        elif kind in TAGGED and any(other in LABELLED for other in used.values()):
            yield ("prepare", "tasks", task, "kind"), "an encoder learns either tags or labels, and others are labels"
        elif task in p.split.limits and not p.split.limits[task].train:
            yield (
                ("split", "limits", task, "train"),
                ("an encoder cannot answer a task that it is not trained on; set valid and test to 0, too"),
            )


def _encoder_stages(p: Params) -> Iterator[Problem]:
    """What an encoder can do after its training."""
    if p.model.kind != "encoder":
        return
    if p.align.enabled:
        yield ("align", "enabled"), "preferences are between written answers, and an encoder writes none; set it false"
    if p.reward.enabled:
        yield ("reward", "enabled"), "preferences are between written answers, and an encoder writes none; set it false"
    if p.sft.method != "full":
        yield ("sft", "method"), "an encoder is trained in full; set it to full"
    if p.sft.packing != "none":
        yield ("sft", "packing"), "an encoder's rows are not packed: one would attend to another; set it to none"
    if "base" in p.predict.variants:
        path: Path = ("predict", "variants", p.predict.variants.index("base"))
        yield path, "`base` has no head yet, so an encoder's base says nothing; take it out"


CHECKS: tuple[Check, ...] = (
    _reward,
    _align,
    _adapters,
    _bitsandbytes,
    _launch,
    _algorithm,
    _kto,
    _imitated,
    _online,
    _encoder_tasks,
    _encoder_stages,
)
