"""What the report is about: the params, figures, ledgers, predictions and digests of one run, read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clew import io, ledger, paths, rows
from clew.errors import DataError
from clew.evaluation import predictions
from clew.report import cleaned
from clew.report.cleaned import Cleaned

STAGES = ("prepare", "clean", "split", "select", "augment", "balance")
"""The stages that decide about rows, in order."""
TRAINERS = ("sft", "reward", "align")
"""The stages that train, in order."""

LOCK = Path("requirements.lock")


@dataclass(frozen=True)
class Decisions:
    """How many rows of a source met the same decision; `detail` is kept for split, where it is the side."""

    stage: str
    source: str
    decision: str
    rule: str | None
    detail: str | None
    n: int


@dataclass(frozen=True)
class Fed:
    """The rows that a trainer fed, all counted in its batches. least, most: how often one of them was.

    masked: tokens without a loss. cut: rows of which a part was left out.
    """

    rows: int
    least: int
    most: int
    tokens: int
    masked: int
    cut: int


@dataclass(frozen=True)
class Digest:
    """What makes a file or folder recognisable. `rows` is None for what has none."""

    path: str
    sha256: str
    size: int
    rows: int | None


@dataclass(frozen=True, repr=False)
class Experiment:
    """One run, as plain values."""

    params: Mapping[str, Any]
    """Section → its values, as in params.yaml; `seed` → int."""
    prepare: Mapping[str, Any]
    clean: Mapping[str, Any]
    split: Mapping[str, Any]
    data_bias: Mapping[str, Any]
    quality: Mapping[str, Any]
    """variant → task → metric → {value, low, high, n, vs_parent}."""
    fairness: Mapping[str, Any]
    """variant → task → attribute → measure → {value, low, high}."""
    losses: Mapping[str, Sequence[Mapping[str, str]]]
    """Stage (sft, reward, align) → lines of its loss curve."""
    training: Mapping[str, Mapping[str, Any]]
    """Stage (sft, reward, align) → its metrics."""
    steps: Sequence[Mapping[str, str]]
    """Lines of metrics/plots/align_steps.csv: reward, KL and what answers are like, by step."""
    reliability: Sequence[Mapping[str, str]]
    """Lines of metrics/plots/reward_reliability.csv, a bin each."""
    taught: Sequence[Decisions]
    """What the trainers decided about the training rows."""
    fed: Mapping[str, Fed]
    """Stage (sft, reward, align) → the rows as it fed them."""
    decisions: Sequence[Decisions]
    cleaned: Cleaned
    records: Mapping[str, int]
    """source → how many records of its files were read; one that two tasks read counts once."""
    predictions: Mapping[str, Sequence[Mapping[str, Any]]]
    """variant → predictions; row i is the same row in all of them."""
    prompts: Mapping[str, str]
    """row_id → what a test row asks: the user's message, or the text that an encoder reads."""
    digests: Sequence[Digest]

    @property
    def variants(self) -> list[str]:
        """The variants that were measured, in the order of predict.variants."""
        return list(self.predictions)

    @property
    def tasks(self) -> list[str]:
        """The tasks with predictions, in the order of prepare.tasks; tasks it does not know come last."""
        found = {row["task"] for of_variant in self.predictions.values() for row in of_variant}
        declared = [task for task in self.params["prepare"]["tasks"] if task in found]
        return declared + sorted(found - set(declared))

    @property
    def final(self) -> str:
        """The last trained variant: what compression starts from."""
        return next(name for name in ("aligned", "sft", *reversed(self.variants)) if name in self.predictions)


def read(params: Mapping[str, Any]) -> Experiment:
    """Read everything below the current folder. Raises DataError for what an earlier stage has not made."""
    variants = params["predict"]["variants"]
    return Experiment(
        params=params,
        prepare=io.read_json(paths.PREPARE_METRICS),
        clean=io.read_json(paths.CLEAN_METRICS),
        split=io.read_json(paths.SPLIT_METRICS),
        data_bias=io.read_json(paths.DATA_BIAS),
        quality=io.read_json(paths.QUALITY),
        fairness=io.read_json(paths.FAIRNESS),
        losses=dict(
            zip(TRAINERS, map(io.read_csv, (paths.SFT_LOSS, paths.REWARD_LOSS, paths.ALIGN_LOSS)), strict=True)
        ),
        training=dict(
            zip(
                TRAINERS, map(io.read_json, (paths.SFT_METRICS, paths.REWARD_METRICS, paths.ALIGN_METRICS)), strict=True
            )
        ),
        steps=io.read_csv(paths.ALIGN_STEPS),
        reliability=io.read_csv(paths.RELIABILITY),
        taught=[found for stage in TRAINERS for found in decisions(stage)],
        fed={stage: fed(stage) for stage in TRAINERS},
        decisions=[found for stage in STAGES for found in decisions(stage)],
        cleaned=cleaned.read(params["clean"]),
        records=records(),
        predictions=predictions.read(variants),
        prompts=prompts(params["model"]["kind"]),
        digests=digests(variants),
    )


def decisions(stage: str) -> list[Decisions]:
    """A stage's ledger, counted by source, decision and rule. Only counts leave the columns: ledgers can be long."""
    import pyarrow.parquet as pq

    path = paths.ledger(stage)
    if not path.exists():
        io.read_parquet(path, ledger.SCHEMA)  # says what is missing and what to do
    by = ["source", "decision", "rule"] + (["detail"] if stage == "split" else [])
    counted = pq.read_table(path, columns=by).group_by(by).aggregate([([], "count_all")]).to_pylist()
    found = [
        Decisions(stage, row["source"], row["decision"], row["rule"], row.get("detail"), row["count_all"])
        for row in counted
    ]
    return sorted(found, key=lambda f: (f.source, f.decision, f.rule or "", f.detail or ""))


def fed(stage: str) -> Fed:
    """What data/fed/<stage>.parquet counts, in all; nothing of a stage that was switched off."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(_there(paths.fed(stage)))
    times = pc.min_max(table["times_fed"]).as_py()
    total = {name: pc.sum(table[name]).as_py() or 0 for name in ("tokens_fed", "tokens_masked", "truncated")}
    return Fed(len(table), times["min"] or 0, times["max"] or 0, *total.values())


def records() -> dict[str, int]:
    """source → records that `prepare` read, each counted once."""
    by = ["source", "file", "record"]
    distinct = io.read_table(paths.ledger("prepare"), ledger.SCHEMA, by).group_by(by).aggregate([])
    counted = distinct.group_by("source").aggregate([([], "count_all")]).to_pylist()
    return {row["source"]: row["count_all"] for row in counted}


def prompts(kind: str) -> dict[str, str]:
    """row_id → what a model of this kind reads of every test row: the last user message, or as an encoder the text."""
    found = {}
    for row in rows.read(paths.SPLITS / "test.parquet"):
        said = [
            message["content"] for message in row["messages"] or [] if message["role"] == "user" and kind == "decoder"
        ]
        found[row["row_id"]] = said[-1] if said else row["text"] or ""
    return found


def _there(path: Path) -> Path:
    if path.exists():
        return path
    raise DataError("it does not exist", where=str(path), fix="Run `dvc repro`, which makes it, or `dvc pull`.")


def digests(variants: Sequence[str]) -> list[Digest]:
    """The digests of the data, the predictions, the models and the lock file, in the order they were made."""
    import pyarrow.parquet as pq

    data = [paths.ROWS, paths.CLEAN, *(paths.SPLITS / f"{side}.parquet" for side in ("train", "valid", "test"))]
    data += [paths.TRAIN, *(paths.PREDICTIONS / f"{variant}.parquet" for variant in variants)]
    found = [
        Digest(path.as_posix(), io.sha256(path), io.tree_size(path), pq.read_metadata(path).num_rows)
        for path in map(_there, data)
    ]
    whole = [_there(paths.MODELS / variant) for variant in variants] + ([LOCK] if LOCK.exists() else [])
    return found + [Digest(path.as_posix(), io.tree_sha256(path), io.tree_size(path), None) for path in whole]
