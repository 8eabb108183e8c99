"""sft: models/base and data/train.parquet → models/sft/, the best by validation loss.

The ledger says of each training row whether it was fed whole, without the middle of its prompt, or not at all;
data/fed/sft.parquet how often it was, by the data loader.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clew import io, ledger, paths, rows
from clew.errors import DataError
from clew.training import checkpoints, data, device, encoder, encoding, loop, memory, processes, record
from clew.training import fed as feeding
from clew.training import sft as training

if TYPE_CHECKING:
    from clew import params

VALID = paths.SPLITS / "valid.parquet"
UNWANTED = "unwanted"
"""The rule by which an answer that was not wanted is left out."""
INPUTS = (paths.BASE, paths.TRAIN, VALID, paths.CONFIGS)


def run(sft: params.Sft, model: params.Model, seed: int) -> dict[str, Any]:
    """Fine-tune on the training rows: a decoder on their completions, an encoder on their labels or tags.

    A killed run goes on from its last checkpoint.
    """
    where = loop.pick_device(sft, "sft")
    device.make_deterministic(seed)
    if model.kind == "encoder":
        return _encoder(sft, seed, where)
    tokenizer = device.load_tokenizer(paths.BASE)
    entries: list[dict[str, Any]] = []
    in_valid: list[dict[str, Any]] = []
    train = _examples(tokenizer, paths.TRAIN, sft.max_length, entries)
    valid = [data.with_weight(example, 1.0) for example in _examples(tokenizer, VALID, sft.max_length, in_valid)]
    unwanted = {
        side: sum(entry["rule"] == UNWANTED for entry in of) for side, of in (("train", entries), ("valid", in_valid))
    }
    order = data.feeding_order([len(example) for example in train], sft.batch_size, sft.epochs, seed, "sft.epochs")
    with checkpoints.folder("sft", INPUTS, sft.model_dump_json(), seed, f"{where.name} {where.precision}") as folder:
        longest = sft.max_length if sft.packing == "bfd" else max(len(example) for example in train)
        settled = memory.settle(sft, folder, paths.BASE, longest, where)
        facts = _train(settled, seed, where, folder, tokenizer, train, valid, order, unwanted)
    if processes.is_main():
        ledger.write("sft", entries, rows_in=len(entries), rows_out=len(train))
    return facts


def _encoder(sft: params.Sft, seed: int, where: device.Device) -> dict[str, Any]:
    tokenizer = encoding.load_tokenizer(paths.BASE)
    found = _rows(paths.TRAIN)
    head = encoding.head_for(found, str(paths.TRAIN))
    train = [encoding.encode(tokenizer, row, head, sft.max_length) for row in found]
    valid = [replace(encoding.encode(tokenizer, row, head, sft.max_length), weight=1.0) for row in _rows(VALID)]
    order = data.feeding_order([len(row) for row in train], sft.batch_size, sft.epochs, seed, "sft.epochs")
    with checkpoints.folder("sft", INPUTS, sft.model_dump_json(), seed, f"{where.name} {where.precision}") as folder:
        trainer = encoder.make_trainer(sft, seed, where, folder, paths.BASE, tokenizer, head, train, valid, order)
        fitted, fed, facts = _fit(sft, folder, trainer, train, partial(encoder.write_model, paths.BASE, head, seed))
    if not processes.is_main():
        return facts
    io.write_json(paths.SFT_METRICS, _metrics(fitted, train, valid, fed))
    decided = [("changed", "cut") if row.cut else ("kept", None) for row in train]
    entries = [ledger.entry(row, "sft", *told) for row, told in zip(found, decided, strict=True)]
    ledger.write("sft", entries, rows_in=len(found), rows_out=len(train))
    return where.facts() | facts


def _train(
    sft: params.Sft,
    seed: int,
    where: device.Device,
    folder: Path,
    tokenizer: Any,
    train: Sequence[data.Example],
    valid: Sequence[data.Example],
    order: Sequence[int],
    unwanted: Mapping[str, int],
) -> dict[str, Any]:
    """Train, write the model and its figures, and say what is volatile. unwanted: rows left out of each side."""
    trainer, adapter = _trainer(sft, seed, where, folder, tokenizer, train, valid, order)
    data.prove_completion_only(tokenizer, train[:10], trainer.data_collator(list(training.make_dataset(train[:10]))))
    write = partial(loop.write_model, paths.BASE, adapter, merge=sft.merge)
    fitted, fed, facts = _fit(sft, folder, trainer, train, write)
    metrics = _metrics(fitted, train, valid, fed)
    if any(unwanted.values()):
        metrics["rows"]["unwanted"] = unwanted
    if sft.method == "qlora":
        metrics["valid_loss"]["on_full_base"] = _loss_on_full_base(sft, seed, where, folder, tokenizer, valid)
    if processes.is_main():
        io.write_json(paths.SFT_METRICS, metrics)
    return where.facts() | facts


def _fit(
    sft: params.Sft,
    folder: Path,
    trainer: Any,
    train: Sequence[data.Example] | Sequence[encoding.Encoded],
    write: Callable[[Mapping[str, Any], Path], None],
) -> tuple[loop.Fitted, feeding.Fed, dict[str, Any]]:
    """Train and write the model (`write`: weights, folder); also what was fed, and what is volatile."""
    started = time.perf_counter()
    fed = feeding.Fed(len(train))
    fitted = loop.fit(trainer, folder, "sft", sft.patience, fed, sft.divergence)
    seconds = time.perf_counter() - started
    if processes.is_main():
        root = feeding.write("sft", [example.row_id for example in train], [example.cut for example in train], fed)
        with io.replace_folder(paths.SFT) as aside:
            write(fitted.weights, aside)
            record.write(aside, "sft", root)
        io.write_csv(paths.SFT_LOSS, ("step", "split", "loss"), loop.losses(fitted.history))
    processes.wait()  # until the model is there
    facts = {
        "micro_batch_size": loop.micro_batch(sft),
        "tokens_per_second": round((fed.tokens - fitted.resumed_tokens) / seconds, 1),
        "resumed_from_step": fitted.resumed,
    }
    return fitted, fed, facts


def _rows(path: Path) -> list[dict[str, Any]]:
    found = rows.read(path)
    if not found:
        raise DataError("there are no rows", where=str(path), fix="Look at split.limits and at metrics/clean.json.")
    return found


def _examples(tokenizer: Any, path: Path, max_length: int, entries: list[dict[str, Any]]) -> list[data.Example]:
    """The rows that fit, in tokens, but for answers that were not wanted. What became of each is added to `entries`."""
    examples: list[data.Example] = []
    last: DataError | None = None
    for row in _rows(path):
        if rows.is_unwanted(row):
            entries.append(ledger.entry(row, "sft", "dropped", UNWANTED))
            continue
        try:
            example = data.encode(tokenizer, row, max_length, "sft.max_length")
        except data.TooLong as error:
            entries.append(ledger.entry(row, "sft", "dropped", "too_long", detail=error.what))
            last = error
            continue
        examples.append(example)
        rule = "cut" if example.cut else None
        entries.append(ledger.entry(row, "sft", "changed" if rule else "kept", rule))
    if not examples:
        raise last or DataError(
            f"all {len(entries)} answers are unwanted, and there is none to imitate",
            where=str(path),
            fix="Bring answers that were wanted (prepare.tasks.<task>.wanted), or other tasks, to this side.",
        )
    return examples


def _trainer(
    sft: params.Sft,
    seed: int,
    where: device.Device,
    folder: Path,
    tokenizer: Any,
    train: Sequence[data.Example],
    valid: Sequence[data.Example],
    order: Sequence[int],
) -> tuple[Any, Any]:
    from trl import SFTConfig

    loop.use_labelled_positions_only()
    model = device.load_model(paths.BASE, where, train=sft.method)
    device.check_fit(model, tokenizer, paths.BASE)
    device.check_length(model, sft.max_length, "sft.max_length")
    adapter = loop.adapter(sft, model, "sft")
    packs = None
    if sft.packing == "bfd":
        lengths = [len(example) for example in train]
        packs = data.pack(lengths, order, sft.max_length, data.CHUNK_BATCHES * sft.batch_size, seed)
    config = SFTConfig(
        **loop.arguments(sft, len(packs or order), seed, where, folder),
        eval_strategy="steps",
        eval_steps=sft.eval_steps,
    )
    micro = loop.micro_batch(sft)
    trainer = training.make_trainer_class()(
        model=model,
        args=loop.one_gpu_each(config),
        data_collator=training.make_collator(tokenizer.pad_token_id, sft.packing),
        train_dataset=training.make_dataset(
            [train[index] for index in order], order, packs, processes.fill(len(packs or order), micro)
        ),
        eval_dataset=training.make_dataset(sorted(valid, key=len), fill=processes.fill(len(valid), micro)),
        processing_class=tokenizer,
        peft_config=adapter,
    )
    if sft.packing != "none":
        with where.autocast():
            training.prove_rows_apart(trainer.model, trainer.data_collator, train)
    return trainer, adapter


def _loss_on_full_base(
    sft: params.Sft, seed: int, where: device.Device, folder: Path, tokenizer: Any, valid: Sequence[data.Example]
) -> float:
    """The validation loss of what was written: the adapter that learnt on 4-bit weights, on those of models/base."""
    from transformers import PrinterCallback
    from trl import SFTConfig

    fill = processes.fill(len(valid), loop.micro_batch(sft))
    measured = training.make_dataset(sorted(valid, key=len), fill=fill)
    trainer = training.make_trainer_class()(
        model=device.load_model(paths.SFT, where, train="lora"),
        args=loop.one_gpu_each(SFTConfig(**loop.arguments(sft, len(valid), seed, where, folder))),
        data_collator=training.make_collator(tokenizer.pad_token_id, "none"),
        train_dataset=measured,
        processing_class=tokenizer,
    )
    trainer.remove_callback(PrinterCallback)
    return float(trainer.evaluate(measured)["eval_loss"])


def _metrics(
    fitted: loop.Fitted,
    train: Sequence[data.Example] | Sequence[encoding.Encoded],
    valid: Sequence[data.Example] | Sequence[encoding.Encoded],
    fed: feeding.Fed,
) -> dict[str, Any]:
    measured = [loss for _, split, loss in loop.losses(fitted.history) if split == "valid"]
    trained = [loss for _, split, loss in loop.losses(fitted.history) if split == "train"]
    best = fitted.best
    return {
        "rows": {"train": len(train), "valid": len(valid), "fed": int(fed.now[0].sum())},
        "rows_cut": {side: sum(e.cut for e in of) for side, of in (("train", train), ("valid", valid))},
        "epochs": int(fed.now[0].sum()) / len(train),
        "steps": fitted.steps,
        "stopped_early": best is not None and best.worse >= best.patience,
        "tokens_fed": fed.tokens,
        "tokens_trained": fed.tokens - int(fed.now[2].sum()),
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
