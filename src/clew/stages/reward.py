"""reward: preference pairs of data/train.parquet and models/sft → models/reward/, a model that rates answers.

`enabled: false` leaves a folder with a note, so that `align` has the same deps either way. The ledger says of each
training row whether it became a pair; switched off, no row is decided about.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clew import io, ledger, paths, rows
from clew.evaluation import intervals
from clew.training import checkpoints, choice, data, device, dpo, loop, memory, processes, record
from clew.training import fed as feeding
from clew.training import reward as training

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clew import params

HEADER = ("step", "split", "loss")
BINS = ("low", "high", "n", "mean", "right")
VALID = paths.SPLITS / "valid.parquet"
NOTE = "There is no reward model: reward.enabled is false in params.yaml.\n"


def run(reward: params.Reward, seed: int) -> dict[str, Any]:
    """Learn to give the completion more than the rejected answer; a killed run goes on from its last checkpoint."""
    if not reward.enabled:
        return _none()
    where = loop.pick_device(reward, "reward")
    device.make_deterministic(seed)
    tokenizer = device.load_tokenizer(paths.SFT)
    train, valid = rows.read(paths.TRAIN), rows.read(VALID)

    def fit(row: choice.Row) -> dpo.Pair:
        return dpo.encode_pair(tokenizer, row, reward.max_length, "reward")

    chosen = choice.choose(train, reward.tasks, reward.rows, choice.check_pair, fit, "reward.tasks")
    held_out = [pair for row in valid if (pair := _fitting(row, reward.tasks, fit)) is not None]
    pairs = sorted(chosen.items, key=len)
    order = data.feeding_order([len(pair) for pair in pairs], reward.batch_size, reward.epochs, seed, "reward.epochs")
    inputs, key = [paths.SFT, paths.TRAIN, paths.CONFIGS], f"{where.name} {where.precision}"
    with checkpoints.folder("reward", inputs, reward.model_dump_json(), seed, key) as folder:
        settled = memory.settle(reward, folder, paths.SFT, 2 * len(pairs[-1]), where)
        trainer, adapter = _trainer(settled, seed, where, folder, tokenizer, pairs, order)
        started = time.perf_counter()
        fed = feeding.Fed(len(pairs))
        fitted = loop.fit(trainer, folder, "reward", None, fed, reward.divergence)
        seconds = time.perf_counter() - started
        if not processes.is_main():
            return {}
        root = feeding.write("reward", [p.chosen.row_id for p in pairs], [p.chosen.cut for p in pairs], fed)
        with io.replace_folder(paths.REWARD) as aside:
            training.write_model(paths.SFT, adapter, fitted.weights, where, training.padding(tokenizer), aside)
            record.write(aside, "reward", root)
        differences = _differences(settled, where, tokenizer, held_out)
    ledger.write(
        "reward",
        choice.entries(train, chosen, reward.tasks, "reward", {p.chosen.row_id for p in pairs if p.chosen.cut}),
        rows_in=len(train),
        rows_out=len(chosen.rows),
    )
    _report(reward, seed, fitted, pairs, len(order), held_out, differences)
    here = len(order) - fitted.resumed * reward.batch_size
    return where.facts() | {
        "micro_batch_size": loop.micro_batch(settled),
        "pairs_per_second": round(here / seconds, 3),
        "resumed_from_step": fitted.resumed,
    }


def _none() -> dict[str, Any]:
    with io.replace_folder(paths.REWARD) as aside:
        (aside / "README").write_text(NOTE, encoding="utf-8")
    io.write_json(paths.REWARD_METRICS, {"enabled": False})
    io.write_csv(paths.REWARD_LOSS, HEADER, [])
    io.write_csv(paths.RELIABILITY, BINS, [])
    ledger.write("reward", [], rows_in=0, rows_out=0)
    feeding.write("reward", [], [], feeding.Fed(0))
    return {}


def _fitting(row: choice.Row, tasks: Sequence[str], fit: Any) -> dpo.Pair | None:
    if row["task"] not in tasks:
        return None
    try:
        choice.check_pair(row)
        pair: dpo.Pair = fit(row)
    except choice.Unfit:
        return None
    return pair


def _trainer(
    reward: params.Reward,
    seed: int,
    where: device.Device,
    folder: Path,
    tokenizer: Any,
    pairs: Sequence[dpo.Pair],
    order: Sequence[int],
) -> tuple[Any, Any]:
    from trl import RewardConfig

    model = training.load_model(paths.SFT, where, training.padding(tokenizer), train=reward.method)
    device.check_fit(model, tokenizer, paths.SFT)
    device.check_length(model, reward.max_length, "reward.max_length")
    adapter = loop.adapter(reward, model, "reward", "SEQ_CLS")
    config = RewardConfig(**loop.arguments(reward, len(order), seed, where, folder), disable_dropout=False)
    trainer = training.make_trainer_class(reward.center)(
        model=model,
        args=loop.one_gpu_each(config),
        data_collator=training.make_collator(training.padding(tokenizer)),
        train_dataset=training.make_dataset(
            [pairs[index] for index in order], order, processes.fill(len(order), loop.micro_batch(reward))
        ),
        processing_class=tokenizer,
        peft_config=adapter,
    )
    return trainer, adapter


def _differences(
    reward: params.Reward, where: device.Device, tokenizer: Any, pairs: Sequence[dpo.Pair]
) -> NDArray[np.float64]:
    """r(chosen) - r(rejected) of each pair, by the model that was written."""
    import numpy as np

    model = training.load_model(paths.REWARD, where, training.padding(tokenizer)).eval()
    sides = [example.prompt + example.completion for pair in pairs for example in (pair.chosen, pair.rejected)]
    scores = np.array(training.score(model, sides, training.padding(tokenizer), loop.micro_batch(reward), where))
    found: NDArray[np.float64] = scores[0::2] - scores[1::2]
    return found


def _report(
    reward: params.Reward,
    seed: int,
    fitted: loop.Fitted,
    pairs: Sequence[dpo.Pair],
    fed: int,
    held_out: Sequence[dpo.Pair],
    differences: NDArray[np.float64],
) -> None:
    losses = loop.losses(fitted.history)
    measured, bins = _held_out(reward, seed, held_out, differences)
    io.write_json(
        paths.REWARD_METRICS,
        {
            "enabled": True,
            "pairs": {"all": len(pairs), "fed": fed, **Counter(pair.task for pair in pairs)},
            "rows_cut": sum(pair.chosen.cut for pair in pairs),
            "steps": fitted.steps,
            "parameters": {
                "all": fitted.parameters,
                "trained": fitted.trainable,
                "share": fitted.trainable / fitted.parameters,
            },
            "loss": {"first": losses[0][2], "last": losses[-1][2]},
            "held_out": measured,
        },
    )
    io.write_csv(paths.REWARD_LOSS, HEADER, losses)
    io.write_csv(paths.RELIABILITY, BINS, [[one[name] for name in BINS] for one in bins])


def _held_out(
    reward: params.Reward, seed: int, pairs: Sequence[dpo.Pair], differences: NDArray[np.float64]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Accuracy, margin and Brier score with intervals, by task too; the calibration error and its bins."""
    import numpy as np

    if not pairs:
        return {"n": 0, "reason": "no pair of these tasks in the valid split: raise split.limits.<task>.valid"}, []
    right = np.where(differences == 0, 0.5, differences > 0)
    probability = 1 / (1 + np.exp(-differences))
    values = {"accuracy": right, "margin": differences, "brier": (1 - probability) ** 2}
    metrics = {name: _mean(each) for name, each in values.items()}
    draws = intervals.bootstrap(metrics, len(pairs), reward.resamples, intervals.generator(seed, "reward"))
    bins = training.reliability(differences, reward.bins)
    tasks = np.array([pair.task for pair in pairs])
    return {
        "n": len(pairs),
        **{
            name: intervals.entry(float(values[name].mean()), draws[name], reward.confidence)
            for name in ("accuracy", "margin", "brier")
        },
        "calibration_error": training.calibration_error(bins),
        "by_task": {
            task: {"accuracy": float(right[tasks == task].mean()), "n": int((tasks == task).sum())}
            for task in sorted(set(tasks.tolist()))
        },
    }, bins


def _mean(values: NDArray[np.float64]) -> intervals.Metric:
    return lambda counts: counts @ values / counts.sum(axis=1)
