"""evaluate: metrics of every variant's predictions, with intervals and paired differences.

Reads data/predictions/<variant>.parquet and, for its size, models/<variant>. Writes metrics/quality.json and the
tables of the plots. metrics/latency.json beside them is volatile: gathered from the runtime records of `predict`,
in git, and not an out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from clew import io, paths
from clew.errors import DataError
from clew.evaluation import predictions, quality

if TYPE_CHECKING:
    from clew import params

MODEL = "model"
"""Where the numbers stand that belong to a variant and to no task."""


def run(evaluate: params.Evaluate, predict: params.Predict, compress: params.Compress, seed: int) -> dict[str, Any]:
    """Measure every variant of `predict`."""
    _check_nothing_left_over(predict.variants, compress.methods)
    found = predictions.read(predict.variants)
    measured = quality.measure(found, resamples=evaluate.resamples, confidence=evaluate.confidence, seed=seed)
    io.write_csv(
        paths.QUALITY_PLOT,
        ["variant", "task", "metric", "value", "low", "high", "n"],
        quality.table(measured),
    )
    io.write_csv(paths.CONFUSION, ["variant", "task", "actual", "predicted"], quality.confusion(found))
    for variant in predict.variants:
        measured[variant][MODEL] = {"size_bytes": _size(variant)}
    io.write_json(paths.QUALITY, measured)
    tasks: dict[str, Sequence[str]] = {
        variant: [task for task in measured[variant] if task != MODEL] for variant in predict.variants
    }
    io.write_json(paths.LATENCY, _latency(tasks))
    return {}


def _check_nothing_left_over(variants: Sequence[str], methods: Sequence[str]) -> None:
    """Refuse files of variants that params.yaml no longer names: dvc.lock would hold them, and no clone makes them."""
    made = {paths.BASE, paths.SFT, paths.REWARD, paths.ALIGNED, *(paths.MODELS / name for name in methods)}
    predicted = {paths.PREDICTIONS / f"{variant}.parquet" for variant in variants}
    for folder, wanted, param in (
        (paths.PREDICTIONS, predicted, "predict.variants"),
        (paths.MODELS, made, "compress.methods"),
    ):
        there = [path for path in sorted(folder.glob("*")) if not path.name.startswith(".")]
        if left := [str(path) for path in there if path not in wanted]:
            raise DataError(
                f"{param} no longer names what lies in {', '.join(left)}",
                where=str(folder),
                fix=f"Remove it (`rm -r {' '.join(left)}`) and run `dvc repro`: DVC's cache keeps it.",
            )


def _size(variant: str) -> dict[str, Any]:
    """Bytes on disk: counted, not sampled, so its interval is the number itself."""
    path = paths.MODELS / variant
    if not path.is_dir():
        raise DataError(
            "the folder does not exist", where=str(path), fix="Run `dvc repro`, which makes it, or `dvc pull`."
        )
    size = io.tree_size(path)
    return {"value": size, "low": size, "high": size, "n": 1}


def _latency(tasks: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """variant → task → seconds_per_example, from the runtime records of `predict` that speak of these predictions.

    tasks: of each variant. Null with a reason where DVC took the predictions from its cache, so that none were timed.
    """
    found = {}
    for variant, of_variant in tasks.items():
        made, record = paths.PREDICTIONS / f"{variant}.parquet", paths.RUNTIME / f"predict@{variant}.json"
        content: dict[str, Any] = {}
        with suppress(DataError):  # none, or one that a merge broke: it is volatile, and no number rests on it
            content = io.read_json(record)
        seconds: Mapping[str, Any] = {}
        if content.get("outs", {}).get(str(made)) == io.tree_sha256(made):
            seconds = content["facts"].get("seconds_per_example", {})
        none = {"value": None, "reason": "these predictions came from the cache, and were not timed"}
        found[variant] = {task: {"seconds_per_example": seconds.get(task, none)} for task in of_variant}
    return found
