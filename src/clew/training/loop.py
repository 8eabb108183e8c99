"""What every trainer shares: its arguments, adapters, progress, checkpoints, and the merged model at the end."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clew.errors import SetupError
from clew.training import adapters, advice, checkpoints, device, processes
from clew.training.adapters import adapter as adapter
from clew.training.best import Best, put_weights, trained_weights
from clew.training.fed import Fed

if TYPE_CHECKING:
    from clew import params

OPTIMIZERS = {  # as transformers names them
    "adamw": "adamw_torch",
    "adam": "adamw_torch",  # made by `_use_adam`: transformers has none
    "sgd": "sgd",
    "rmsprop": "rmsprop",
    "adafactor": "adafactor",
    "adamw_8bit": "adamw_8bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
}
COUPLED = "decoupled_weight_decay=false"
NO_LIGER = "Set liger: false in params.yaml, or install clew[gpu] on a machine with a GPU."
KEPT_CHECKPOINTS = 2  # the newest, and the one before it in case the newest is not whole


def arguments(section: params.Optimisation, rows: int, seed: int, where: device.Device, folder: Path) -> dict[str, Any]:
    """Arguments for SFTConfig, DPOConfig and others alike. rows: how many are fed in all, every epoch counted."""
    steps = math.ceil(rows / section.batch_size)
    micro = micro_batch(section)
    return {
        "output_dir": str(folder),
        "num_train_epochs": 1,  # the dataset holds the rows of all epochs, in the order in which they are fed
        "train_sampling_strategy": "sequential",
        "per_device_train_batch_size": micro,
        "per_device_eval_batch_size": micro,
        "gradient_accumulation_steps": section.batch_size // (micro * processes.count()),
        "gradient_checkpointing": section.gradient_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False} if section.gradient_checkpointing else None,
        "learning_rate": section.learning_rate,
        "lr_scheduler_type": section.schedule,
        "lr_scheduler_kwargs": _schedule_options(section.schedule, steps),
        "warmup_steps": warmup_steps(section.warmup, steps),
        "weight_decay": section.weight_decay,
        "max_grad_norm": section.max_grad_norm or 0.0,
        "optim": OPTIMIZERS[section.optimizer],
        "optim_args": COUPLED if section.optimizer == "adam" else None,
        "use_liger_kernel": section.liger,
        "bf16": where.precision == "bfloat16",
        "fp16": where.precision == "float16",
        "use_cpu": where.name == "cpu",
        "seed": seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": section.checkpoint_steps,
        "save_total_limit": KEPT_CHECKPOINTS,
        "report_to": "none",
        "disable_tqdm": True,  # `Watch` draws one bar
        "remove_unused_columns": False,
        "dataset_num_proc": None,
        "max_length": None,  # rows come in tokens, already as long as they may be
    }


def pick_device(section: params.Optimisation, title: str) -> device.Device:
    """Where the section trains. Tells what is likely a mistake (see `advice`); raises SetupError for what cannot run.

    title: the section's name.
    """
    where = device.pick(section.precision, section.attention)
    advice.tell(section, title)
    if section.liger and where.name == "cpu":
        raise SetupError("Liger's kernels run on GPUs only, and there is none", where=f"{title}.liger", fix=NO_LIGER)
    if section.liger:
        from transformers.utils import is_liger_kernel_available

        if not is_liger_kernel_available():
            raise SetupError("liger-kernel is not installed", where=f"{title}.liger", fix=NO_LIGER)
    return where


def micro_batch(section: params.Optimisation) -> int:
    """Rows at a time in each process; of `auto` that is not settled (see `memory.settle`) all of its rows of a step."""
    most = section.batch_size // processes.count()
    return most if section.micro_batch_size == "auto" else section.micro_batch_size


def warmup_steps(warmup: float, steps: int) -> int:
    """How many of `steps` the learning rate rises.

    >>> warmup_steps(0.1, 45), warmup_steps(7, 45), warmup_steps(100, 45)
    (5, 7, 45)
    """
    return min(warmup, steps) if isinstance(warmup, int) else math.ceil(warmup * steps)


def _schedule_options(schedule: str, steps: int) -> dict[str, Any] | None:
    options: dict[str, dict[str, Any]] = {
        "cosine_with_min_lr": {"min_lr_rate": 0.1},
        "polynomial": {"power": 2.0, "lr_end": 0.0},
        "warmup_stable_decay": {"num_decay_steps": math.ceil(steps / 10)},
    }
    return options.get(schedule)


class Quiet:
    """What TRL's trainers do beside training, and clew leaves to none: first among a trainer's bases."""

    def _send_telemetry(self) -> None:
        """Nothing leaves the machine."""

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Models are described by clew's own report."""


def one_gpu_each(config: Any) -> Any:
    """Let a config use one GPU where several are visible (its default would be nn.DataParallel); returns it.

    Raises SetupError unless it runs in as many processes as were asked for.
    """
    processes.check_state(processes.asked(), config.world_size)
    config._n_gpu = min(config.n_gpu, 1)
    return config


def count_rows_alike(trainer: Any) -> None:
    """Have each row of a step count alike, however the step is split, where a trainer's loss is a mean of rows.

    transformers takes the mean of the micro-batches' means: in the last step of an epoch, whose last micro-batch may be
    smaller, the rows of that one would count more.
    """
    take, loss_of = trainer.get_batch_samples, trainer.compute_loss
    rows, parts = 0, 1

    def get_batch_samples(*arguments: Any) -> Any:
        nonlocal rows, parts
        batches, items = take(*arguments)
        rows, parts = sum(len(batch["input_ids"]) for batch in batches), len(batches)
        return batches, items

    def compute_loss(model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        here = len(inputs["input_ids"])
        loss = loss_of(model, inputs, return_outputs, num_items_in_batch)
        even = here * parts == rows
        return loss if even or return_outputs or not model.training else loss * (here * parts / rows)

    trainer.get_batch_samples, trainer.compute_loss = get_batch_samples, compute_loss


def use_labelled_positions_only() -> None:
    """Have TRL's output layer computed only where a token has a label.

    Without Triton (on a CPU) TRL 1.16 computes log-probabilities over the vocabulary for every position, prompt
    included, and throws the prompt's away: for two tokens of answer after a prompt of 150 that is half of a step.
    In this module the name only decides that; the results are the same.
    """
    from trl.trainer import utils

    utils._use_triton = lambda _: True


@dataclass(frozen=True)
class Fitted:
    """history: one dict a step and a measurement, as transformers logs them. resumed: from which step, after how many
    tokens."""

    history: list[dict[str, float]]
    steps: int
    resumed: int
    resumed_tokens: int
    trainable: int
    parameters: int
    weights: dict[str, Any]
    best: Best | None


def fit(
    trainer: Any, folder: Path, title: str, patience: int | None, fed: Fed, divergence: params.Divergence | None
) -> Fitted:
    """Train, from the newest whole checkpoint in `folder` where there is one, to the end or to the early stop.

    patience: measurements of the validation loss without a better one before stopping; None: no measurements. fed: of
    all examples; the trainer finds it as `self.fed` and adds every batch that it trains on. divergence: when to stop.
    The same bytes come out whether or not the run was killed and resumed.
    """
    from transformers import PrinterCallback

    from clew.training.watch import make_watch

    best = None if patience is None else Best(patience)
    start = checkpoints.newest(folder)
    for kept in (best, fed):
        if start is not None and kept is not None:
            kept.load(start)
    trainer.fed, tokens = fed, fed.tokens
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(make_watch(title, best, fed, divergence, lambda: trainer.model_wrapped))
    trainer.args.eval_on_start = best is not None and start is None
    _use_adam(trainer)
    trainable, parameters = adapters.make_ready(trainer.model)
    with device.memory_advice(f"{title}.micro_batch_size", f"{title}.max_length"):
        trainer.train(resume_from_checkpoint=None if start is None else str(start))
    fed.settle()
    if best is None:
        fed.keep()
    processes.read_whole()
    return Fitted(
        history=trainer.state.log_history,
        steps=trainer.state.global_step,
        resumed=0 if start is None else int(start.name.removeprefix(checkpoints.PREFIX)),
        resumed_tokens=tokens,
        trainable=trainable,
        parameters=parameters,
        weights=best.weights if best is not None and best.weights else trained_weights(trainer.model),
        best=best,
    )


def _use_adam(trainer: Any) -> None:
    """Adam, where it is asked for, with weight decay as a part of the gradient (Kingma and Ba, 2015)."""
    if trainer.args.optim_args != COUPLED:
        return
    from torch.optim import Adam

    args = trainer.args
    options = {"lr": args.learning_rate, "betas": (args.adam_beta1, args.adam_beta2), "eps": args.adam_epsilon}
    trainer.optimizer_cls_and_kwargs = (Adam, options)


def write_model(source: Path, adapter_config: Any, weights: dict[str, Any], target: Path, *, merge: bool) -> None:
    """Write `source` with trained `weights` as a self-contained model folder, in the type it was stored in.

    Adapters are merged in float32, or without `merge` written beside the weights of `source`. Everything but the
    weights (config, tokenizer, template) is copied from `source` byte for byte, so that nothing that training set for
    itself gets in.
    """
    import torch
    from peft import PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(source, dtype="auto", use_safetensors=True, trust_remote_code=False)
    stored = model.dtype
    model = model.to(torch.float32)
    if adapters.is_in(source):
        model = adapters.attach(model, source, train=True)
    if adapter_config is not None:
        model = get_peft_model(model, adapter_config)
    put_weights(model, weights)
    if isinstance(model, PeftModel) and merge:
        model = model.merge_and_unload(safe_merge=True)
    elif isinstance(model, PeftModel):
        adapters.write(model, target / adapters.FOLDER)
        model = model.get_base_model() if model.active_peft_config.is_prompt_learning else model.unload()
    model.to(stored).save_pretrained(target)
    for path in target.glob("*.*"):  # safetensors makes files for their owner alone
        path.chmod(0o644)
    copy_all_but_weights(source, target)


def copy_all_but_weights(source: Path, target: Path) -> None:
    """Copy a model folder's config, tokenizer and template, over what may be there."""
    for path in sorted(source.iterdir()):
        if path.is_file() and not path.name.startswith("model"):
            shutil.copyfile(path, target / path.name)


def losses(history: Sequence[dict[str, float]]) -> list[tuple[int, str, float]]:
    """(step, split, loss) of every step and measurement, in order."""
    found = []
    for entry in history:
        for name, split in (("loss", "train"), ("eval_loss", "valid")):
            if name in entry:
                found.append((int(entry["step"]), split, float(entry[name])))
    return found
