"""A whole experiment on disk without a model: made-up records go through the real data stages; predictions and weights
are made up; the real evaluate and fairness stages measure them. What the report shows is thus in the real form.
"""

from __future__ import annotations

import json
import random
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

from clew import io, ledger, params, paths, rows
from clew.stages import augment, balance, clean, evaluate, fairness, prepare, select, split
from clew.stages import report as report_stage
from clew.training import fed as feeding
from clew.training import lesson

SHA256 = "0" * 63 + "1"
SKILL = {"base": 0.1, "sft": 0.62, "aligned": 0.64, "int8": 0.62}
FEELINGS = {
    "1": ["I cannot sleep", "I panic", "everything hurts", "I am at my limit"],
    "0": ["I rest", "we laughed", "it went well"],
}
PEOPLE = {"he": ["he told me", "his letter came", "him again"], "she": ["she told me", "her letter came", "hers again"]}
DAYS = ["on Monday", "last week", "since June", "at work", "at home", "before the exam", "after the move", "at night"]

TASKS: dict[str, Any] = {
    "stress": {
        "kind": "label",
        "source": "posts",
        "files": "*.jsonl",
        "format": "jsonl",
        "missing": {},
        "system": None,
        "prompt": "Post: {{ text }}\nStressed?",
        "text": "{{ text }}",
        "label": "{{ label }}",
        "annotations": None,
        "values": {"1": "yes", "0": "no"},
        "rejected": True,
        "groups": {"pronoun": {"he": r"\b(he|his|him)\b", "she": r"\b(she|hers?)\b"}},
    },
    "notes": {
        "kind": "text",
        "source": "visits",
        "files": "*.jsonl",
        "format": "jsonl",
        "missing": {},
        "system": None,
        "prompt": "{{ talk }}\nSummarise.",
        "text": "{{ talk }}",
        "completion": "{{ note }}",
        "rejected": None,
        "wanted": None,
        "groups": {},
    },
}
LORA = {
    "rank": 8,
    "alpha": 16,
    "dropout": 0.0,
    "rslora": False,
    "dora": False,
    "target_modules": ["q_proj"],
    "last_layers": 2,
}
OPTIMISATION = {
    "method": "lora",
    "lora": LORA,
    "ia3": None,
    "prompt": None,
    "prefix": None,
    "merge": True,
    "optimizer": "adamw",
    "learning_rate": 0.001,
    "schedule": "linear",
    "warmup": 0.1,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "batch_size": 8,
    "micro_batch_size": 8,
    "epochs": 1,
    "max_length": 256,
    "precision": "float32",
    "attention": "auto",
    "gradient_checkpointing": False,
    "liger": False,
    "launch": None,
    "checkpoint_steps": 10,
    "divergence": None,
}
AUDIT = {"task": "stress", "attribute": "pronoun", "privileged": "he", "unprivileged": "she", "favorable": "yes"}
PARAMS: dict[str, Any] = {
    "seed": 7,
    "model": {"kind": "decoder"},
    "fetch_data": {
        "sources": {
            name: {"uri": f"file:{name}.jsonl", "sha256": SHA256, "license": "MIT"} for name in ("posts", "visits")
        }
    },
    "fetch_model": {
        "uri": "hf://acme/tiny-1@0123abc",
        "sha256": SHA256,
        "license": "Apache-2.0",
        "dtype": "float32",
        "random_init": None,
    },
    "prepare": {"row_key": "public", "max_unfit": 0.2, "tasks": TASKS},
    "clean": {
        **dict.fromkeys(params.Clean.model_fields),
        "features": {"kind": "tfidf", "dimensions": 16},
        "downweight": 0.5,
        "missing": {"text": "drop", "completion": "drop", "label": "drop"},
        "length": {"action": "drop", "min_words": 3, "max_words": 600},
        "contradictions": {"action": "drop"},
        "duplicates": {"action": "drop"},
        "label_noise": {"tasks": [], "folds": 3, "threshold": 0.5, "min_accuracy": 0.9, "otherwise": "downweight"},
    },
    "split": {
        "valid_share": 0.1,
        "test_share": 0.3,
        "limits": {"stress": {"train": 100, "valid": 20, "test": 60}, "notes": {"train": 20, "valid": 5, "test": 10}},
        "leakage": None,
        "contamination": None,
    },
    "select": {
        "enabled": False,
        "keep": {"stress": 0.5},
        "score": None,
        "diversity": {
            "method": "facility_location",
            "pool": 2.0,
            "features": {"kind": "tfidf", "dimensions": 16},
        },
    },
    "augment": {
        "enabled": False,
        "tasks": {
            "stress": {
                "synonyms": None,
                "typos": {"rate": 0.02, "copies": 1},
                "prompts": {"templates": ["Stressed?\n{{ text }}"], "copies": 1},
                "upsample": {"by": "label", "to": 1.0, "most": 2},
            }
        },
    },
    "balance": {"audits": [AUDIT], "reweigh": True},
    "sft": {**OPTIMISATION, "packing": "none", "eval_steps": 5, "patience": 3},
    "reward": {
        **OPTIMISATION,
        "enabled": False,
        "tasks": ["stress"],
        "rows": 16,
        "center": 0.01,
        "bins": 5,
        "resamples": 200,
        "confidence": 0.95,
    },
    "align": {
        **OPTIMISATION,
        "enabled": True,
        "algorithm": "dpo",
        "tasks": ["stress"],
        "rows": 16,
        "held_out": None,
        "dpo": {"loss": "sigmoid", "beta": 0.1, "label_smoothing": 0.0, "row_weights": False},
        **dict.fromkeys(("kto", "rloo", "grpo")),
    },
    "compress": {"methods": ["int8"], "int8": {"activations": "weight_only"}},
    "predict": {
        "variants": ["base", "sft", "aligned", "int8"],
        "batch_size": 8,
        "max_length": 256,
        "max_new_tokens": 32,
        "precision": "float32",
    },
    "evaluate": {"resamples": 200, "confidence": 0.95},
    "fairness": {"audits": [AUDIT], "resamples": 200, "confidence": 0.95},
    "report": {"title": "Help desk", "intended_use": "A demonstration.", "samples": 3},
}


def declared(**sections: dict[str, Any]) -> params.Params:
    """PARAMS with the values of some sections replaced: declared(align={"enabled": False})."""
    tree = deepcopy(PARAMS)
    for name, values in sections.items():
        tree[name] |= values
    return params.Params.model_validate_json(json.dumps(tree))


def write(p: params.Params) -> None:
    """Write everything that the report stage reads, below the current folder."""
    rng = random.Random(p.seed)
    _write_records(rng)
    prepare.run(p.prepare)
    clean.run(p.clean, p.prepare, p.seed)
    split.run(p.split, p.seed)
    select.run(p.select, p.seed)
    augment.run(p.augment, p.prepare, p.seed)
    balance.run(p.balance)
    finish(p)


def finish(p: params.Params) -> None:
    """Write what comes after `balance`: models, loss curves, predictions of the test rows, and their measures."""
    test = rows.read(paths.SPLITS / "test.parquet")
    for folder in (paths.MODELS, paths.PREDICTIONS):  # of another experiment
        shutil.rmtree(folder, ignore_errors=True)
    for variant in p.predict.variants:
        folder = paths.MODELS / variant
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.safetensors").write_bytes(variant.encode() * (100 if variant == "int8" else 200))
        found = [predict(row, variant) for row in test]
        io.write_parquet(paths.PREDICTIONS / f"{variant}.parquet", found, rows.PREDICTION_SCHEMA)
    write_losses(p)
    evaluate.run(p.evaluate, p.predict, p.compress, p.seed)
    fairness.run(p.fairness, p.predict, p.seed)
    Path("requirements.lock").write_text("torch==2.13.0\n")


def write_losses(p: params.Params) -> None:
    """Metrics, curves, ledgers and rows as fed, as the three trainers leave them."""
    header = ("step", "split", "loss")
    trained = [(step, "train", 2.4 * 0.97**step) for step in range(1, 41)]
    io.write_csv(paths.SFT_LOSS, header, trained + [(step, "valid", 2.5 * 0.975**step) for step in range(0, 41, 5)])
    falling = [(n, "train", 0.69 - 0.01 * n) for n in range(1, 9)]
    io.write_csv(paths.REWARD_LOSS, header, falling if p.reward.enabled else [])
    io.write_csv(paths.ALIGN_LOSS, header, falling if p.align.enabled else [])
    shared = {"steps": 40, "parameters": {"all": 1_000_000, "trained": 20_000, "share": 0.02}}
    fitted = {
        "rows": {"train": 320, "valid": 20, "fed": 320},
        "rows_cut": {"train": 2, "valid": 0},
        "epochs": 1.0,
        "stopped_early": False,
        "tokens_fed": 40_000,
        "tokens_trained": 1_200,
        "valid_loss": {"before": 2.5, "best": 0.908, "best_step": 40, "last": 0.908},
    }
    io.write_json(paths.SFT_METRICS, fitted | shared)
    pairs = {"enabled": True, "pairs": {"all": 16, "fed": 16, "stress": 16}, "rows_cut": 0}
    bins = [(0.5, 0.6, 9, 0.55, 0.5), (0.6, 0.7, 0, None, None), (0.7, 0.8, 11, 0.75, 10 / 11)]
    judged = {"enabled": False}
    if p.reward.enabled:
        figures = {"accuracy": (0.73, 0.52, 0.9), "margin": (0.8, 0.2, 1.3), "brier": (0.19, 0.12, 0.24)}
        held_out: dict[str, Any] = {name: _entry(*found) for name, found in figures.items()}
        held_out |= {"n": 20, "calibration_error": 0.11, "by_task": {"stress": {"accuracy": 0.73, "n": 20}}}
        judged = pairs | shared | {"held_out": held_out}
    io.write_json(paths.REWARD_METRICS, judged)
    io.write_csv(paths.RELIABILITY, ("low", "high", "n", "mean", "right"), bins if p.reward.enabled else [])
    said = pairs | {"algorithm": p.align.algorithm, "reward_accuracy": 0.625} | shared
    io.write_json(paths.ALIGN_METRICS, said if p.align.enabled else {"enabled": False})
    margins = [(step, None, 0.01 * step, *[None] * 4) for step in range(1, 9)]
    io.write_csv(paths.ALIGN_STEPS, lesson.STEPS, margins if p.align.enabled else [])
    for stage, ran in (("sft", True), ("reward", p.reward.enabled), ("align", p.align.enabled)):
        _write_fed(stage, rows.read(paths.TRAIN) if ran else [], times=2 if stage == "reward" else 1)


def _entry(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def _write_fed(stage: str, found: list[dict[str, Any]], *, times: int) -> None:
    """The rows as fed, of ten tokens each, the last two learnt: all but the first, which is too long."""
    entries = [ledger.entry(row, stage, "kept", None) for row in found]
    if found:
        entries[0] = ledger.entry(found[0], stage, "dropped", "too_long", detail="300 tokens")
    fed = feeding.Fed(max(0, len(found) - 1))
    fed.kept += [[times], [10 * times], [8 * times]]
    kept = [row["row_id"] for row in found[1:]]
    feeding.write(stage, kept, [number == 0 for number in range(len(kept))], fed)
    ledger.write(stage, entries, rows_in=len(found), rows_out=len(kept))


def sections(p: params.Params) -> dict[str, Any]:
    """The params as the report keeps them: section → plain values."""
    return dict(p.model_dump(mode="json"))


def report(p: params.Params) -> dict[str, str]:
    """Run the report stage; file name → text of what it wrote."""
    report_stage.run(**{name: getattr(p, name) for name in type(p).model_fields})
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(Path("reports").iterdir())}


def predict(row: dict[str, Any], variant: str) -> dict[str, Any]:
    """A prediction that is right with the variant's skill, else at random; the same for the same row and variant."""
    ours, shared = random.Random(f"{variant} {row['row_id']}"), random.Random(row["row_id"])
    luck = shared.random() if variant != "base" else ours.random()
    choices = row["choices"]
    if not choices:
        kept = [word for word in row["completion"].split() if shared.random() < 0.3 + SKILL[variant]]
        said = " ".join(kept) or "?"
    else:
        right = luck < SKILL[variant] + 0.02 * ours.random()
        said = row["label"] if right else shared.choice(choices)
    scores = [-0.4 if choice == said else -1.5 - ours.random() for choice in choices] if choices else None
    return {
        "row_id": row["row_id"],
        "source": row["source"],
        "task": row["task"],
        "label": row["label"],
        "reference": row["completion"],
        "choices": choices,
        "scores": scores,
        "prediction": said,
        "logprob": -2.5 + 2 * SKILL[variant] - ours.random(),
        "tokens": 2,
        "groups": dict(row["groups"] or {}),
        "labels": None,
        "tags": None,
        "predicted": None,
    }


def _write_records(rng: random.Random) -> None:
    posts = [_post(rng) for _ in range(400)]
    posts += [posts[0], {"text": "no label here at all", "label": "?"}, {"text": "Short", "label": "1"}]
    visits = [_visit(rng, number) for number in range(60)]
    for name, records in (("posts", posts), ("visits", visits)):
        folder = paths.RAW / name
        folder.mkdir(parents=True)
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def _post(rng: random.Random) -> dict[str, str]:
    who = rng.choice(["he", "she", "nobody"])
    label = "1" if rng.random() < {"he": 0.6, "she": 0.45, "nobody": 0.5}[who] else "0"
    parts = [rng.choice(FEELINGS[label]), rng.choice(DAYS), rng.choice(PEOPLE.get(who, ["someone told me"]))]
    return {
        "text": f"{' '.join(parts)}, {rng.choice(DAYS)} and {rng.choice(DAYS)} ({rng.randrange(10_000)}).",
        "label": label,
    }


def _visit(rng: random.Random, number: int) -> dict[str, str]:
    ill, day = rng.choice(["cough", "fever", "back pain", "a rash"]), rng.choice(DAYS)
    return {
        "talk": f"Doctor: What brings you here, number {number}?\nPatient: I have had {ill} {day}.",
        "note": f"The patient reports {ill} {day}. No known allergies. Follow up in one week.",
    }
