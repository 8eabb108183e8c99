"""sft: models/base and data/train.parquet → models/sft/, the best by validation loss."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clew import io, paths, rows
from clew.errors import DataError
from clew.training import checkpoints, data, device, loop
from clew.training import sft as training

if TYPE_CHECKING:
    from clew import params

VALID = paths.SPLITS / "valid.parquet"


def run(sft: params.Sft, seed: int) -> dict[str, Any]:
    """Fine-tune on the completions of the training rows; a killed run goes on from its last checkpoint."""
    where = device.pick(sft.precision)
    device.make_deterministic(seed)
    tokenizer = device.load_tokenizer(paths.BASE)
    train = _examples(tokenizer, paths.TRAIN, sft.max_length)
    valid = [data.with_weight(example, 1.0) for example in _examples(tokenizer, VALID, sft.max_length)]
    order = data.feeding_order([len(example) for example in train], sft.batch_size, sft.epochs, seed, "sft.epochs")
    inputs, key = [paths.BASE, paths.TRAIN, VALID], f"{where.name} {where.precision}"
    with checkpoints.folder("sft", inputs, sft.model_dump_json(), seed, key) as folder:
        return _train(sft, seed, where, folder, tokenizer, train, valid, order)


def _train(
    sft: params.Sft,
    seed: int,
    where: device.Device,
    folder: Path,
    tokenizer: Any,
    train: Sequence[data.Example],
    valid: Sequence[data.Example],
    order: Sequence[int],
) -> dict[str, Any]:
    """Train, write the model and its figures, and say what is volatile."""
    trainer, adapter = _trainer(sft, seed, where, folder, tokenizer, [train[index] for index in order], valid)
    data.prove_completion_only(tokenizer, train[:10], trainer.data_collator(list(training.make_dataset(train[:10]))))
    started = time.perf_counter()
    fitted = loop.fit(trainer, folder, "sft", sft.patience)
    seconds = time.perf_counter() - started
    with io.replace_folder(paths.SFT) as aside:
        loop.write_model(paths.BASE, adapter, fitted.weights, aside)
    fed = [train[index] for index in order[: fitted.steps * sft.batch_size]]
    io.write_json(paths.SFT_METRICS, _metrics(fitted, train, valid, fed))
    io.write_csv(paths.SFT_LOSS, ("step", "split", "loss"), loop.losses(fitted.history))
    here = sum(len(example) for example in fed[fitted.resumed * sft.batch_size :])
    return where.facts() | {"tokens_per_second": round(here / seconds, 1), "resumed_from_step": fitted.resumed}


def _examples(tokenizer: Any, path: Path, max_length: int) -> list[data.Example]:
    found = rows.read(path)
    if not found:
        raise DataError("there are no rows", where=str(path), fix="Look at split.limits and at metrics/clean.json.")
    return [data.encode(tokenizer, row, max_length, "sft.max_length") for row in found]


def _trainer(
    sft: params.Sft,
    seed: int,
    where: device.Device,
    folder: Path,
    tokenizer: Any,
    fed: Sequence[data.Example],
    valid: Sequence[data.Example],
) -> tuple[Any, Any]:
    from trl import SFTConfig

    loop.use_labelled_positions_only()
    model = device.load_model(paths.BASE, where, train=sft.method)
    device.check_fit(model, tokenizer, paths.BASE)
    adapter = loop.adapter(sft, model, "sft")
    config = SFTConfig(
        **loop.arguments(sft, len(fed), seed, where, folder), eval_strategy="steps", eval_steps=sft.eval_steps
    )
    trainer = training.make_trainer_class()(
        model=model,
        args=loop.single_gpu(config),
        data_collator=training.make_collator(tokenizer.pad_token_id),
        train_dataset=training.make_dataset(fed),
        eval_dataset=training.make_dataset(sorted(valid, key=len)),
        processing_class=tokenizer,
        peft_config=adapter,
    )
    return trainer, adapter


def _metrics(
    fitted: loop.Fitted,
    train: Sequence[data.Example],
    valid: Sequence[data.Example],
    fed: Sequence[data.Example],
) -> dict[str, Any]:
    measured = [loss for _, split, loss in loop.losses(fitted.history) if split == "valid"]
    trained = [loss for _, split, loss in loop.losses(fitted.history) if split == "train"]
    best = fitted.best
    return {
        "rows": {"train": len(train), "valid": len(valid), "fed": len(fed)},
        "rows_cut": {side: sum(e.cut for e in of) for side, of in (("train", train), ("valid", valid))},
        "epochs": len(fed) / len(train),
        "steps": fitted.steps,
        "stopped_early": best is not None and best.worse >= best.patience,
        "tokens_fed": sum(len(example) for example in fed),
        "tokens_trained": sum(len(example.completion) for example in fed),
        "parameters": {
            "all": fitted.parameters,
            "trained": fitted.trainable,
            "share": fitted.trainable / fitted.parameters,
        },
        "train_loss": {"first": trained[0], "last": trained[-1]},
        "valid_loss": {
            "before": measured[0],
            "best": None if best is None else best.loss,
            "best_step": None if best is None else best.step,
            "last": measured[-1],
        },
    }
