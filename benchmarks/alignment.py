"""What RLHF teaches, on preferences that people gave: SFT, then DPO, and a reward model with RLOO.

    python benchmarks/alignment.py FOLDER [--base MODEL] [--seeds 13 14 15]

Pairs of film snippets, each in one pair; the better one is that which a panel of raters found at least GAP more
positive (VADER's data, means of 15 to 20 raters, -4 to 4). SFT learns the better ones. DPO and the reward model learn
the pairs that SFT learnt from; RLOO writes lines of its own for the reward model. All are measured on pairs of the
valid split, which none of them saw. All prompts are the same, so the rewards that are told are those of the answers
drawn in training: their mean over the first and over the last quarter of the steps. FOLDER/<seed> keeps what each
stage made; MODEL is a folder as models/base.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

import noisy_sets
from clew import io, paths

ROOT = Path(__file__).resolve().parents[1]
TASK, PAIRS, GAP, TRAIN, VALID = "films", 1200, 2.0, 800, 240
BEFORE = ("prepare", "clean", "split", "select", "augment", "balance", "sft", "reward")
HACKING = {"steps": 5, "length": 1.5, "repetition": 0.1, "distinct": 0.2, "kl": 1.0}  # kl: nats a token
ALGORITHMS: dict[str, dict[str, Any]] = {
    "dpo": {"rows": TRAIN, "dpo": {"loss": "sigmoid", "beta": 0.1, "label_smoothing": 0.0, "row_weights": False}},
    "rloo": {
        "rows": 160,
        "batch_size": 16,
        "micro_batch_size": 16,
        "divergence": None,
        "rloo": {
            "generations": 4,
            "max_new_tokens": 32,
            "temperature": 1.0,
            "beta": 0.05,
            "epsilon": 0.2,
            "normalize_advantages": True,
            "rewards": [{"kind": "model", "weight": 1.0}],
            "hacking": HACKING,
        },
    },
}


def experiment(work: Path, base: Path, seed: int, raw: Path) -> None:
    """A small work tree: params, the pairs, the base model and what a stage looks for."""
    shutil.rmtree(work, ignore_errors=True)
    (work / "models").mkdir(parents=True)
    for name in ("dvc.yaml", "requirements.lock", "src"):
        (work / name).symlink_to(ROOT / name)
    (work / paths.BASE).symlink_to(base.resolve())
    subprocess.run(["git", "init", "-q", str(work)], check=True)
    pairs = work / paths.RAW / TASK / "pairs.jsonl"
    pairs.parent.mkdir(parents=True)
    lines = [json.dumps({"better": better, "worse": worse}) for better, worse in unique_pairs(raw, seed)]
    pairs.write_text("\n".join(lines) + "\n", encoding="utf-8")
    yaml = YAML()
    tree = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    tree["seed"] = seed
    tree["fetch_data"]["sources"] = {TASK: {"uri": "file:pairs.jsonl", "sha256": "0" * 64, "license": "MIT"}}
    text = tree["prepare"]["tasks"]["dialogues"] | {"source": TASK, "files": "*.jsonl", "format": "jsonl"}
    text |= {"system": None, "prompt": "Write a line of a film review.", "text": "{{ better }}"}
    tree["prepare"]["tasks"] = {TASK: text | {"completion": "{{ better }}", "rejected": "{{ worse }}"}}
    tree["clean"] |= dict.fromkeys(set(tree["clean"]) - {"objective", "features", "downweight", "missing"})
    tree["split"] |= {"valid_share": 0.25, "test_share": 0.01}
    tree["split"]["limits"] = {TASK: {"train": TRAIN, "valid": VALID, "test": 1}}
    tree["split"]["contamination"]["benchmarks"] = []
    tree["select"] |= {"keep": {}, "score": None}
    tree["augment"]["tasks"] = {}
    tree["balance"]["audits"] = tree["fairness"]["audits"] = []
    tree["sft"] |= {"eval_steps": 50}
    tree["reward"] |= {"enabled": True, "tasks": [TASK], "rows": TRAIN}
    held_out = {"rows": VALID, "max_new_tokens": 32, "resamples": 1000, "confidence": 0.95}
    tree["align"] |= {"tasks": [TASK], "held_out": held_out}
    io.write_json(work / "params.yaml", json.loads(json.dumps(tree)))  # JSON is YAML


def unique_pairs(raw: Path, seed: int) -> list[tuple[str, str]]:
    """(better, worse) of snippets that are drawn once each."""
    rated, draw = noisy_sets.film_ratings(raw), np.random.default_rng(seed)
    pairs: list[tuple[str, str]] = []
    order = draw.permutation(len(rated))
    for one, other in zip(order[::2].tolist(), order[1::2].tolist(), strict=False):
        better, worse = sorted((rated[one], rated[other]), key=lambda rating: -rating[1])
        if better[1] - worse[1] >= GAP and len(pairs) < PAIRS:
            pairs.append((better[0], worse[0]))
    return pairs


def stage(work: Path, name: str) -> None:
    """Run a stage there, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "clew", "stage", name], cwd=work, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])


def set_algorithm(work: Path, name: str) -> None:
    """Write align.algorithm and its section into params.yaml."""
    path = work / "params.yaml"
    tree = json.loads(path.read_text(encoding="utf-8"))
    tree["align"] |= dict.fromkeys(("dpo", "kto", "rloo", "grpo")) | {"algorithm": name} | ALGORITHMS[name]
    io.write_json(path, tree)


def told(entry: dict[str, Any]) -> str:
    """A value with its interval."""
    return f"{entry['value']:.3f} [{entry['low']:.3f}, {entry['high']:.3f}]"


def against(entry: dict[str, Any]) -> str:
    """The paired difference to sft with its interval."""
    vs = entry["vs_sft"]
    return f"{vs['difference']:+.3f} [{vs['low']:+.3f}, {vs['high']:+.3f}]"


def kl(found: dict[str, Any]) -> str:
    """From the sft model over the last quarter of the steps, in nats a token, of algorithms that tell it."""
    return f"{found['kl']['last']:.3f}" if "kl" in found else ""


def main() -> None:
    """Make the experiments and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--base", type=Path, default=paths.BASE)
    parser.add_argument("--seeds", type=int, nargs="*", default=[13, 14, 15])
    asked = parser.parse_args()
    folder, base = asked.folder.resolve(), asked.base.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    noisy_sets.fetch(paths.RAW)
    print("| seed | | preferred, sft | aligned | difference | reward, first | last | KL |")
    print("|---|---|---|---|---|---|---|---|")
    for seed in asked.seeds:
        work = folder / str(seed)
        experiment(work, base, seed, folder / paths.RAW)
        for name in BEFORE:
            stage(work, name)
        judge = json.loads((work / paths.REWARD_METRICS).read_text(encoding="utf-8"))
        for name in ALGORITHMS:
            set_algorithm(work, name)
            stage(work, "align")
            found = json.loads((work / paths.ALIGN_METRICS).read_text(encoding="utf-8"))
            preferred = found["held_out"]["preference_accuracy"]
            drawn = [f"{found['reward'][quarter]:.3f}" for quarter in ("first", "last")] if "kl" in found else ["", ""]
            print(
                f"| {seed} | {name} | {told(preferred['sft'])} | {told(preferred['aligned'])} "
                f"| {against(preferred['aligned'])} | {' | '.join(drawn)} | {kl(found)} |",
                flush=True,
            )
        print(f"\nreward model, seed {seed}: accuracy {told(judge['accuracy'])}\n", flush=True)


if __name__ == "__main__":
    main()
