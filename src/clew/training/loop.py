"""What every trainer shares: its arguments, adapters, progress, checkpoints, and the merged model at the end."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clew.errors import ModelError, ParamsError, SetupError
from clew.training import checkpoints, device
from clew.training.best import Best, put_weights, trained_weights
from clew.training.fed import Fed

if TYPE_CHECKING:
    from clew import params

KEPT_CHECKPOINTS = 2  # the newest, and the one before it in case the newest is not whole


def arguments(section: params.Optimisation, rows: int, seed: int, where: device.Device, folder: Path) -> dict[str, Any]:
    """Arguments for SFTConfig and DPOConfig alike. rows: how many are fed in all, every epoch counted."""
    steps = math.ceil(rows / section.batch_size)
    return {
        "output_dir": str(folder),
        "num_train_epochs": 1,  # the dataset holds the rows of all epochs, in the order in which they are fed
        "train_sampling_strategy": "sequential",
        "per_device_train_batch_size": section.micro_batch_size,
        "per_device_eval_batch_size": section.micro_batch_size,
        "gradient_accumulation_steps": section.batch_size // section.micro_batch_size,
        "gradient_checkpointing": False,
        "learning_rate": section.learning_rate,
        "lr_scheduler_type": section.schedule,
        "warmup_steps": math.ceil(section.warmup_ratio * steps),
        "weight_decay": section.weight_decay,
        "max_grad_norm": section.max_grad_norm,
        "optim": "adamw_torch",
        "bf16": where.precision == "bfloat16",
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


def single_gpu(config: Any) -> Any:
    """Let a config use one GPU where several are visible (its default would be nn.DataParallel); returns it."""
    if config.world_size > 1:
        raise SetupError("this stage runs in one process", where="WORLD_SIZE", fix="Start it with `dvc repro`.")
    config._n_gpu = min(config.n_gpu, 1)
    return config


def adapter(section: params.Optimisation, model: Any, where: str) -> Any:
    """The LoRA adapter to train, or None for `full`. Raises ParamsError where the model has no such modules."""
    if section.method == "full":
        return None
    from peft import LoraConfig, TaskType

    layers = model.config.get_text_config().num_hidden_layers
    last = min(section.lora.last_layers, layers)
    names = {name.rpartition(".")[2] for name, _ in model.named_modules() if ".layers." in name}
    unknown = [module for module in section.lora.target_modules if module not in names]
    if unknown:
        linear = sorted(name for name in names if name.endswith(("_proj", "dense", "fc1", "fc2")))
        raise ParamsError(
            f"the model's layers have no {', '.join(unknown)}",
            where=f"{where}.lora.target_modules",
            fix=f"They have: {', '.join(linear) or ', '.join(sorted(names))}.",
        )
    return LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=section.lora.rank,
        lora_alpha=section.lora.alpha,
        lora_dropout=section.lora.dropout,
        target_modules=list(section.lora.target_modules),
        layers_to_transform=list(range(layers - last, layers)),
        layers_pattern="layers",
    )


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


def fit(trainer: Any, folder: Path, title: str, patience: int | None, fed: Fed) -> Fitted:
    """Train, from the newest whole checkpoint in `folder` where there is one, to the end or to the early stop.

    patience: measurements of the validation loss without a better one before stopping; None: no measurements. fed: of
    all examples; the trainer finds it as `self.fed` and adds every batch that it trains on.
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
    trainer.add_callback(make_watch(title, best, fed))
    trainer.args.eval_on_start = best is not None and start is None
    parameters = list(trainer.model.parameters())
    with device.memory_advice(f"{title}.micro_batch_size", f"{title}.max_length"):
        trainer.train(resume_from_checkpoint=None if start is None else str(start))
    if best is None:
        fed.keep()
    return Fitted(
        history=trainer.state.log_history,
        steps=trainer.state.global_step,
        resumed=0 if start is None else int(start.name.removeprefix(checkpoints.PREFIX)),
        resumed_tokens=tokens,
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        parameters=sum(p.numel() for p in parameters),
        weights=best.weights if best is not None and best.weights else trained_weights(trainer.model),
        best=best,
    )


def write_model(source: Path, adapter_config: Any, weights: dict[str, Any], target: Path) -> None:
    """Write `source` with trained `weights` as a self-contained model folder, in the type it was stored in.

    Adapters are merged in float32. Everything but the weights (config, tokenizer, template) is copied from `source`
    byte for byte, so that nothing that training set for itself gets in.
    """
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(source, dtype="auto", use_safetensors=True, trust_remote_code=False)
    stored = model.dtype
    model = model.to(torch.float32)
    if adapter_config is not None:
        model = get_peft_model(model, adapter_config)
    put_weights(model, weights)
    if adapter_config is not None:
        model = model.merge_and_unload(safe_merge=True)
    model.to(stored).save_pretrained(target)
    for path in target.iterdir():  # safetensors makes files for their owner alone
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


def check_finite(loss: float, step: int, title: str) -> None:
    """Refuse to go on with a loss that is no number."""
    if not math.isfinite(loss):
        raise ModelError(
            f"the loss is {loss} at step {step}", where=title, fix=f"Lower {title}.learning_rate in params.yaml."
        )
