"""Every path that stages share, once. All are relative to the repository's root, where stages run."""

from __future__ import annotations

from pathlib import Path

RAW = Path("data/raw")  # RAW / <source>
ROWS = Path("data/rows.parquet")
CLEAN = Path("data/clean.parquet")
SCORES = Path("data/scores.parquet")  # what each rule of `clean` measured; row i is that of ROWS
REVIEW_QUEUE = Path("data/review/queue.parquet")
REVIEW_DECISIONS = Path("data/review/decisions")  # in git
SPLITS = Path("data/splits")  # SPLITS / train.parquet, valid.parquet, test.parquet
SELECTED = Path("data/selected.parquet")  # of train
AUGMENTED = Path("data/augmented.parquet")  # of train
TRAIN = Path("data/train.parquet")
LEDGER = Path("data/ledger")  # LEDGER / <stage>.parquet
FED = Path("data/fed")  # FED / <stage>.parquet
PREDICTIONS = Path("data/predictions")  # PREDICTIONS / <variant>.parquet

MODELS = Path("models")  # MODELS / <variant>
BASE = MODELS / "base"
SFT = MODELS / "sft"
REWARD = MODELS / "reward"  # a note where none was trained
ALIGNED = MODELS / "aligned"

METRICS = Path("metrics")
PREPARE_METRICS = METRICS / "prepare.json"
CLEAN_METRICS = METRICS / "clean.json"
SPLIT_METRICS = METRICS / "split.json"
SELECT_METRICS = METRICS / "select.json"
AUGMENT_METRICS = METRICS / "augment.json"
DATA_BIAS = METRICS / "data_bias.json"
SFT_METRICS = METRICS / "sft.json"
REWARD_METRICS = METRICS / "reward.json"
ALIGN_METRICS = METRICS / "align.json"
QUALITY = METRICS / "quality.json"
FAIRNESS = METRICS / "fairness.json"
LATENCY = METRICS / "latency.json"  # gathered from RUNTIME: volatile, in git, never an out
RUNTIME = METRICS / "runtime"  # RUNTIME / <stage>.json: volatile, in git, never an out

PLOTS = METRICS / "plots"
SFT_LOSS = PLOTS / "sft_loss.csv"
REWARD_LOSS = PLOTS / "reward_loss.csv"
RELIABILITY = PLOTS / "reward_reliability.csv"
ALIGN_LOSS = PLOTS / "align_loss.csv"
ALIGN_STEPS = PLOTS / "align_steps.csv"
CONFUSION = PLOTS / "confusion.csv"
QUALITY_PLOT = PLOTS / "quality.csv"
FAIRNESS_PLOT = PLOTS / "fairness.csv"

REPORT = Path("reports/report.html")
MODEL_CARD = Path("reports/model_card.md")

CONFIGS = Path("configs")  # of accelerate, in git
REWARDS = Path("rewards")  # reward functions of the user, in git

FEATURES = Path(".clew/features")  # embeddings by content: made again where they are not there
LIVE = Path(".clew/live")  # LIVE / <stage>: curves of a training that goes on
CHECKPOINTS = Path(".clew/checkpoints")  # outside every out: DVC deletes outs before a run


def fed(stage: str) -> Path:
    """The rows as `stage` fed them to the model that it trained."""
    return FED / f"{stage}.parquet"


def ledger(stage: str) -> Path:
    """The ledger that `stage` writes: one row for each decision about a row."""
    return LEDGER / f"{stage}.parquet"
