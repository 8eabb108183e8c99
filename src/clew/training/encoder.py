"""Fine-tuning an encoder: transformers' Trainer with a weight for each row, and a head that is drawn from the seed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clew.errors import ModelError
from clew.training import data, device, fed, loop, processes
from clew.training.best import put_weights
from clew.training.encoding import Encoded, Head, make_collator, make_dataset

if TYPE_CHECKING:
    from clew import params


def row_losses(logits: Any, batch: Mapping[str, Any]) -> Any:
    """The loss of each row, in nats, shape (rows,).

    Of tags: summed over its words. Of one label: the cross-entropy among the labels of its task. Of several: the
    binary cross-entropy of each label of its task, averaged (as torch's BCEWithLogitsLoss).
    """
    import torch
    from torch.nn import functional

    logits, labels = logits.float(), batch["labels"]
    if "allowed" not in batch:
        losses = functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=data.IGNORED, reduction="none")
        return losses.sum(dim=1)
    target, allowed = labels.float(), batch["allowed"]
    log_p = log_softmax(logits, allowed)
    one = -(log_p.masked_fill(labels == 0, 0.0)).sum(dim=1)
    each = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    several = (each * allowed).sum(dim=1) / allowed.sum(dim=1)
    return torch.where(batch["several"], several, one)


def log_softmax(logits: Any, allowed: Any) -> Any:
    """Log-probabilities over the outputs that are allowed, shape as logits."""
    import torch

    return torch.log_softmax(logits.masked_fill(~allowed, torch.finfo(logits.dtype).min), dim=-1)


def counted(batch: Mapping[str, Any]) -> Any:
    """How many losses each row has, shape (rows,): one, or of tags one a word."""
    import torch

    if "allowed" not in batch:
        return (batch["labels"] != data.IGNORED).sum(dim=1)
    return torch.ones_like(batch["weights"])


def trained_tokens(batch: Mapping[str, Any]) -> Any:
    """Where there is a loss, shape (rows, tokens): at the words, or of a whole text at its first token."""
    import torch

    if "allowed" not in batch:
        return batch["labels"] != data.IGNORED
    first = torch.zeros_like(batch["attention_mask"], dtype=torch.bool)
    first[:, 0] = True
    return first


def make_trainer_class() -> Any:
    """Trainer with row weights, and a validation loss that is the mean over all rows or words, however batched."""
    from transformers import Trainer

    class EncoderTrainer(Trainer):  # type: ignore[misc]
        """See `make_trainer_class`; every method is one that Trainer calls."""

        fed: fed.Fed
        measured: tuple[float, float] = (0.0, 0.0)
        loss_is_scaled_for_ga = True  # by the weights of the whole step

        def _get_num_items_in_batch(self, batch_samples: list[dict[str, Any]], device: Any) -> Any:
            items = sum((counted(batch) * batch["weights"]).sum() for batch in batch_samples)
            return processes.total(items.to(device))

        def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> Any:
            self.fed.add(inputs["examples"], trained_tokens(inputs))
            return super().training_step(model, inputs, *args, **options)

        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            own = (counted(inputs) * inputs["weights"]).sum()
            learns = self.model.training and num_items_in_batch is not None
            total = num_items_in_batch if learns else own
            outputs = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
            losses = (row_losses(outputs.logits, inputs) * inputs["weights"]).sum()
            loss = losses / total.where(total > 0, total.new_ones(()))
            if learns:
                loss = loss * processes.count()  # the gradients of all are averaged
            elif not self.model.training:
                self.measured = (self.measured[0] + float(losses), self.measured[1] + float(own))
            return (loss, outputs) if return_outputs else loss

        def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **options: Any) -> Any:
            self.measured = (0.0, 0.0)
            output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **options)
            output.metrics[f"{metric_key_prefix}_loss"] = processes.mean(*self.measured)
            return output

    return EncoderTrainer


def make_trainer(
    sft: params.Sft,
    seed: int,
    where: device.Device,
    folder: Path,
    base: Path,
    tokenizer: Any,
    head: Head,
    train: Sequence[Encoded],
    valid: Sequence[Encoded],
    order: Sequence[int],
) -> Any:
    """The trainer of the model in `base` with a fresh head, its dataset in the order in which rows are fed."""
    from transformers import TrainingArguments

    model = load_base(base, head, seed, where)
    device.check_fit(model, tokenizer, base)
    device.check_length(model, sft.max_length, "sft.max_length")
    known = {field.name for field in dataclasses.fields(TrainingArguments)}  # the others are TRL's
    given = loop.arguments(sft, len(order), seed, where, folder)
    config = TrainingArguments(
        **{name: value for name, value in given.items() if name in known},
        eval_strategy="steps",
        eval_steps=sft.eval_steps,
        prediction_loss_only=True,
    )
    micro = loop.micro_batch(sft)
    return make_trainer_class()(
        model=model.to(where.name),
        args=loop.one_gpu_each(config),
        data_collator=make_collator(head, tokenizer.pad_token_id),
        train_dataset=make_dataset([train[index] for index in order], order, processes.fill(len(order), micro)),
        eval_dataset=make_dataset(sorted(valid, key=len), fill=processes.fill(len(valid), micro)),
        processing_class=tokenizer,
    )


def load_base(folder: Path, head: Head, seed: int, where: device.Device | None = None) -> Any:
    """The encoder of a folder in float32, with a head whose weights are drawn with `seed`. The same seed, the same.

    Raises ModelError where more than the head is missing.
    """
    import torch
    import transformers

    kind = "AutoModelForTokenClassification" if head.tags else "AutoModelForSequenceClassification"
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, **_described(head))
        with torch.random.fork_rng(), _quiet():
            torch.manual_seed(seed)
            model, report = getattr(transformers, kind).from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                attn_implementation=where.attention if where else None,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise ModelError(
            f"no encoder can be read ({first})", where=str(folder), fix="Name an encoder in fetch_model.uri."
        ) from None
    own = f"{model.base_model_prefix}."
    if lost := sorted(name for name in report["missing_keys"] if name.startswith(own)):
        raise ModelError(
            f"{len(lost)} weights of the encoder are missing, such as {lost[0]}",
            where=str(folder),
            fix="Run fetch_model again.",
        )
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep from the reader that the head was not in the source: it never is."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def auto_class(config: Any) -> Any:
    """transformers' class that loads a model of this config: of an encoder with its head, else a causal one."""
    import transformers

    for ending in ("ForSequenceClassification", "ForTokenClassification"):
        if (config.architectures or [""])[0].endswith(ending):
            return getattr(transformers, f"AutoModel{ending}")
    return transformers.AutoModelForCausalLM


def load_model(folder: Path, where: device.Device) -> Any:
    """A trained encoder (plain or int8) with its head, on the device, in its precision."""
    import torch
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        model = auto_class(config).from_pretrained(
            folder,
            config=config,
            dtype=getattr(torch, where.precision),
            attn_implementation=where.attention,
            use_safetensors=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError, KeyError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise ModelError(
            f"the model cannot be read ({first})", where=str(folder), fix="Run the stage that writes it: `dvc repro`."
        ) from None
    return model.eval().to(where.name)


def _described(head: Head) -> dict[str, Any]:
    """What a config says of a head, for transformers' own classes and pipelines."""
    names = dict(enumerate(head.classes))
    return {"id2label": names, "label2id": {name: number for number, name in names.items()}}


def write_model(base: Path, head: Head, seed: int, weights: Mapping[str, Any], target: Path) -> None:
    """Write the encoder of `base` with a head and trained `weights` as a folder that transformers loads by itself.

    The weights are stored in the type that they have in `base`; the tokenizer is copied byte for byte, and the config
    but for its architecture and the names of the outputs.
    """
    import torch

    model = load_base(base, head, seed)
    put_weights(model, dict(weights))
    told = json.loads((base / "config.json").read_text(encoding="utf-8"))
    stored = getattr(torch, str(told.get("dtype") or told.get("torch_dtype") or "float32"))
    model.to(stored).save_pretrained(target)
    for path in target.iterdir():  # safetensors makes files for their owner alone
        path.chmod(0o644)
    loop.copy_all_but_weights(base, target)
    told |= {"architectures": [type(model).__name__], **_described(head)}
    (target / "config.json").write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
