"""align: preference training from models/sft → models/aligned/; `enabled: false` passes the model on as it is.

The ledger says of each training row whether it became a preference pair; switched off, no row is decided about.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clew import io, ledger, paths, rows
from clew.training import checkpoints, data, device, dpo, loop, memory, record
from clew.training import fed as feeding

if TYPE_CHECKING:
    from clew import params

HEADER = ("step", "split", "loss")


def run(align: params.Align, seed: int) -> dict[str, Any]:
    """Prefer the completion over the rejected answer, no further from the sft model than `beta` allows."""
    if not align.enabled:
        with io.replace_folder(paths.ALIGNED) as aside:
            shutil.copytree(paths.SFT, aside, dirs_exist_ok=True, copy_function=_clone)
        io.write_json(paths.ALIGN_METRICS, {"enabled": False})
        io.write_csv(paths.ALIGN_LOSS, HEADER, [])
        ledger.write("align", [], rows_in=0, rows_out=0)
        feeding.write("align", [], [], feeding.Fed(0))
        return {}
    where = loop.pick_device(align, "align")
    device.make_deterministic(seed)
    tokenizer = device.load_tokenizer(paths.SFT)
    train = rows.read(paths.TRAIN)
    chosen = dpo.choose_pairs(train, align.tasks, align.pairs)
    pairs = sorted(dpo.encode_pairs(tokenizer, chosen, align.max_length), key=len)
    order = data.feeding_order([len(pair) for pair in pairs], align.batch_size, align.epochs, seed, "align.epochs")
    inputs, key = [paths.SFT, paths.TRAIN], f"{where.name} {where.precision}"
    with checkpoints.folder("align", inputs, align.model_dump_json(), seed, key) as folder:
        settled = memory.settle(align, folder, paths.SFT, 2 * len(pairs[-1]), where)
        trainer, adapter = _trainer(settled, seed, where, folder, tokenizer, pairs, order)
        started = time.perf_counter()
        fed = feeding.Fed(len(pairs))
        fitted = loop.fit(trainer, folder, "align", None, fed, align.divergence)
        seconds = time.perf_counter() - started
        root = feeding.write("align", [pair.chosen.row_id for pair in pairs], [pair.chosen.cut for pair in pairs], fed)
        with io.replace_folder(paths.ALIGNED) as aside:
            loop.write_model(paths.SFT, adapter, fitted.weights, aside, merge=align.merge)
            record.write(aside, "align", root)
    ledger.write("align", _entries(train, chosen, align.tasks), rows_in=len(train), rows_out=len(chosen))
    io.write_json(paths.ALIGN_METRICS, _metrics(fitted, pairs, len(order)))
    io.write_csv(paths.ALIGN_LOSS, HEADER, loop.losses(fitted.history))
    here = len(order) - fitted.resumed * align.batch_size
    return where.facts() | {
        "micro_batch_size": loop.micro_batch(settled),
        "pairs_per_second": round(here / seconds, 3),
        "resumed_from_step": fitted.resumed,
    }


def _entries(
    train: Sequence[dict[str, Any]], chosen: Sequence[Mapping[str, Any]], tasks: Sequence[str]
) -> list[dict[str, Any]]:
    """Each training row: a pair, or why not."""
    pairs = {id(row) for row in chosen}
    ids = {row["row_id"] for row in chosen}
    found = []
    for row in train:
        if id(row) in pairs:
            found.append(ledger.entry(row, "align", "kept"))
            continue
        rule = (
            "other_task" if row["task"] not in tasks else "no_rejected_answer" if row["rejected"] is None else "limit"
        )
        rule = "duplicate" if row["row_id"] in ids else rule
        found.append(ledger.entry(row, "align", "dropped", rule))
    return found


def _clone(source: str, target: str) -> None:
    """Copy a file; Linux shares its blocks on file systems that can (btrfs, xfs)."""
    size = Path(source).stat().st_size
    try:
        with Path(source).open("rb") as there, Path(target).open("wb") as here:
            while size > 0:
                done = os.copy_file_range(there.fileno(), here.fileno(), size)
                if done == 0:
                    break
                size -= done
    except (AttributeError, OSError):
        shutil.copyfile(source, target)


def _trainer(
    align: params.Align,
    seed: int,
    where: device.Device,
    folder: Path,
    tokenizer: Any,
    pairs: Sequence[dpo.Pair],
    order: Sequence[int],
) -> tuple[Any, Any]:
    """The trainer, its reference log-probabilities computed, and the adapter's configuration."""
    from trl import DPOConfig

    loop.use_labelled_positions_only()
    model = device.load_model(paths.SFT, where, train=align.method)
    device.check_fit(model, tokenizer, paths.SFT)
    adapter = loop.adapter(align, model, "align")
    config = DPOConfig(
        **loop.arguments(align, len(order), seed, where, folder),
        beta=align.beta,
        loss_type="sigmoid",
        precompute_ref_log_probs=True,
    )
    with device.memory_advice("align.micro_batch_size", "align.max_length"):
        trainer = dpo.make_trainer_class()(
            model=model,
            args=loop.single_gpu(config),
            data_collator=dpo.make_collator(tokenizer.pad_token_id),
            train_dataset=dpo.make_dataset(pairs),
            processing_class=tokenizer,
            peft_config=adapter,
        )
    if adapter is not None:
        with where.autocast():  # flash attention takes no float32
            dpo.prove_reference(trainer.model, trainer.data_collator(list(dpo.make_dataset(pairs[:1]))))
    trainer.train_dataset = trainer.train_dataset.select(order)
    return trainer, adapter


def _metrics(fitted: loop.Fitted, pairs: Sequence[dpo.Pair], fed: int) -> dict[str, Any]:
    logged = [entry for entry in fitted.history if "loss" in entry]
    tail = logged[-max(1, len(logged) // 4) :]
    examples = [example for pair in pairs for example in (pair.chosen, pair.rejected)]
    return {
        "enabled": True,
        "pairs": {"all": len(pairs), "fed": fed, **Counter(pair.task for pair in pairs)},
        "rows_cut": sum(pair.chosen.cut for pair in pairs),
        "steps": fitted.steps,
        "tokens": sum(len(example) for example in examples),
        "parameters": {
            "all": fitted.parameters,
            "trained": fitted.trainable,
            "share": fitted.trainable / fitted.parameters,
        },
        "loss": {"first": logged[0]["loss"], "last": logged[-1]["loss"]},
        # Over the last quarter of the steps, each pair judged just before it was trained on.
        "reward_accuracy": sum(entry["rewards/accuracies"] for entry in tail) / len(tail),
        "reward_margin": sum(entry["rewards/margins"] for entry in tail) / len(tail),
    }
