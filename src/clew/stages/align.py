"""align: RLHF from models/sft → models/aligned/; `enabled: false` passes the model on as it is.

From preferences (dpo, kto) or from rewards of drawn answers (rloo, grpo): models/reward, functions of clew.training.
rewards and of rewards/. The ledger says of each training row whether it was learnt from; switched off, no row is
decided about.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clew import io, ledger, paths, rows
from clew.training import (
    checkpoints,
    choice,
    device,
    dpo,
    held_out,
    kto,
    lesson,
    loop,
    memory,
    online,
    processes,
    record,
)
from clew.training import fed as feeding

if TYPE_CHECKING:
    from clew import params

HEADER = ("step", "split", "loss")
VALID = paths.SPLITS / "valid.parquet"
ALGORITHMS: dict[str, Callable[..., lesson.Lesson]] = {
    "dpo": dpo.plan,
    "kto": kto.plan,
    "rloo": online.plan,
    "grpo": online.plan,
}


def run(align: params.Align, seed: int) -> dict[str, Any]:
    """Prefer what is preferred or rewarded, no further from the sft model than `beta` allows.

    A killed run goes on from its last checkpoint.
    """
    if not align.enabled:
        return _pass_on()
    where = loop.pick_device(align, "align")
    device.make_deterministic(seed)
    tokenizer = device.load_tokenizer(paths.SFT)
    train = rows.read(paths.TRAIN)
    own = getattr(align, align.algorithm)
    plan = ALGORITHMS[align.algorithm](align, own, where, tokenizer, train, seed)
    inputs = [paths.SFT, paths.TRAIN, paths.REWARD, paths.REWARDS, paths.CONFIGS]
    key = f"{where.name} {where.precision}"
    with checkpoints.folder("align", inputs, align.model_dump_json(), seed, key) as folder:
        settled = memory.settle(align, folder, paths.SFT, plan.longest, where)
        trainer, adapter = _trainer(settled, seed, where, folder, tokenizer, plan)
        started = time.perf_counter()
        fed = feeding.Fed(len(plan.examples))
        fitted = loop.fit(trainer, folder, "align", None, fed, align.divergence)
        seconds = time.perf_counter() - started
        del trainer
        if not processes.is_main():
            return {}
        row_ids, cut = [row_id for row_id, _ in plan.examples], [is_cut for _, is_cut in plan.examples]
        root = feeding.write("align", row_ids, cut, fed)
        with io.replace_folder(paths.ALIGNED) as aside:
            loop.write_model(paths.SFT, adapter, fitted.weights, aside, merge=align.merge)
            record.write(aside, "align", root)
        metrics = {"algorithm": align.algorithm} | plan.metrics(fitted)
        if align.held_out is not None:
            metrics["held_out"] = held_out.measure(settled, align.held_out, where, seed, rows.read(VALID))
    ledger.write(
        "align",
        choice.entries(
            train, plan.choice, align.tasks, "align", {row_id for row_id, is_cut in plan.examples if is_cut}
        ),
        rows_in=len(train),
        rows_out=len(plan.choice.rows),
    )
    io.write_json(paths.ALIGN_METRICS, metrics)
    io.write_csv(paths.ALIGN_LOSS, HEADER, loop.losses(fitted.history))
    io.write_csv(paths.ALIGN_STEPS, lesson.STEPS, plan.steps(fitted))
    here = plan.fed - fitted.resumed * align.batch_size
    return where.facts() | {
        "micro_batch_size": loop.micro_batch(settled),
        "pairs_per_second": round(here / seconds, 3),
        "resumed_from_step": fitted.resumed,
    }


def _pass_on() -> dict[str, Any]:
    with io.replace_folder(paths.ALIGNED) as aside:
        shutil.copytree(paths.SFT, aside, dirs_exist_ok=True, copy_function=_clone)
    io.write_json(paths.ALIGN_METRICS, {"enabled": False})
    io.write_csv(paths.ALIGN_LOSS, HEADER, [])
    io.write_csv(paths.ALIGN_STEPS, lesson.STEPS, [])
    ledger.write("align", [], rows_in=0, rows_out=0)
    feeding.write("align", [], [], feeding.Fed(0))
    return {}


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
    align: params.Align, seed: int, where: device.Device, folder: Path, tokenizer: Any, plan: lesson.Lesson
) -> tuple[Any, Any]:
    """The trainer, its reference computed where it can be beforehand, and the adapter's configuration."""
    loop.use_labelled_positions_only()
    model = device.load_model(paths.SFT, where, train=align.method)
    device.check_fit(model, tokenizer, paths.SFT)
    device.check_length(model, align.max_length, "align.max_length")
    adapter = loop.adapter(align, model, "align")
    arguments = loop.arguments(align, plan.fed, seed, where, folder)
    with device.memory_advice("align.micro_batch_size", "align.max_length"):
        return plan.build(loop.micro_batch(align), model, adapter, arguments), adapter
