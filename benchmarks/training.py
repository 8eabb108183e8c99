"""How fast sft trains, beside a bare TRL script, TRL's defaults and LLaMA-Factory: same model, rows and machine.

    python benchmarks/training.py FOLDER [--rounds 3] [--steps 10] [--under "chrt -r 5"] [--llamafactory PYTHON]

FOLDER holds what a finished default experiment made (data/train.parquet, data/splits/valid.parquet, models/base); it is
only read. Every run is a process of its own; the ways take turns (A B C … A B C …); medians of rounds. Where two
ways feed the same batches their steps are also compared one by one, which the load of the machine disturbs least.

- clew: `clew stage sft` as it stands, with a measurement of the validation loss and a checkpoint every half of the
  steps.
- clew, padding_free and bfd: the same with sft.packing; of bfd as many sequences a step as hold about as many tokens.
- bare: TRL's SFTTrainer with the same settings, the same rows in the same order, measurements and checkpoints.
- bare, tuned: the same in the stage's environment (malloc) and with logits at labelled positions only: what is left
  between it and clew is clew's own work.
- defaults: SFTTrainer with SFTConfig's defaults and the same adapter; rows in messages, drawn at random.
- LLaMA-Factory, recommended: its examples/train_lora file (1 row × 8 accumulated, adapters in all layers, gradient
  checkpointing, a cosine schedule); same adapter: with clew's batch and with adapters where clew has them.

Tokens are real ones: padding does not count. Processor seconds are of all threads; other work disturbs them less.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STEPS = int(os.environ.get("BENCH_STEPS", "10"))
EVERY, VALID = STEPS // 2, 16
ROWS, TOKENS = 8, 8 * 160  # a step of the default experiment
STARTED, RESULT = "BENCH_STARTED", "result.json"
SAME_BATCHES = ("bare TRL", "bare TRL, tuned")


def make_timer() -> Any:
    """A transformers callback that notes when training and each step began and ended, and when it was measured."""
    from transformers import TrainerCallback

    class Timer(TrainerCallback):  # type: ignore[misc]
        """See `make_timer`; every number is (wall seconds since the process was asked for, processor seconds)."""

        def __init__(self) -> None:
            self.begun: list[tuple[float, float]] = []
            self.steps: list[tuple[float, float]] = []
            self.done: list[tuple[float, float]] = []

        def _now(self) -> tuple[float, float]:
            return time.time() - float(os.environ[STARTED]), time.process_time()

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.begun.append(self._now())

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.steps.append(self._now())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            start = self.steps.pop()
            end = self._now()
            self.steps.append((end[0] - start[0], end[1] - start[1]))

        def on_train_end(self, *_: Any, **__: Any) -> None:
            self.done.append(self._now())

    return Timer()


def report(timer: Any, tokens: int, steps: int) -> None:
    """Leave the figures of this process for its parent."""
    (wall, cpu), (ended, used) = timer.begun[-1], timer.done[-1]
    found = {
        "start-up": wall,
        "start-up CPU": cpu,
        "step": (ended - wall) / steps,
        "step CPU": (used - cpu) / steps,
        "step alone": statistics.median(step[0] for step in timer.steps),
        "tokens/s": tokens / sum(step[0] for step in timer.steps),
        "tokens/s CPU": tokens / sum(step[1] for step in timer.steps),
        "tokens": tokens,
        "steps": timer.steps,
    }
    Path(RESULT).write_text(json.dumps(found), encoding="utf-8")


def clew() -> None:
    """`clew stage sft`, with a clock."""
    from clew import io, paths, runtime

    runtime._enter_environment(fetches=False)  # as the stage's first act; what follows is imported once
    from clew.training import loop

    fit, timer = loop.fit, make_timer()

    def watched(trainer: Any, *arguments: Any, **options: Any) -> Any:
        trainer.add_callback(timer)
        return fit(trainer, *arguments, **options)

    loop.fit = watched
    runtime.run_stage("sft", None)
    made = io.read_json(paths.SFT_METRICS)
    report(timer, made["tokens_fed"], made["steps"])


def messages(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as TRL takes conversations with an answer."""
    return {"prompt": row["messages"], "completion": [{"role": "assistant", "content": row["completion"]}]}


def bare(*, tuned: bool = False) -> None:
    """SFTTrainer with the settings of params.yaml on the rows that the stage feeds, and then all others."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    from clew import params, paths, rows
    from clew.training import device, loop

    if tuned:
        loop.use_labelled_positions_only()
    section, seed = params.load().sft, params.load().seed
    order = json.loads(Path("order.json").read_text(encoding="utf-8"))
    train = rows.read(paths.TRAIN)
    model = AutoModelForCausalLM.from_pretrained(paths.BASE)
    timer = make_timer()
    settings = loop.arguments(section, STEPS * section.batch_size, seed, device.pick(section.precision), Path("out"))
    settings |= {"max_length": section.max_length, "num_train_epochs": 1, "max_steps": STEPS, "eval_on_start": True}
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(**settings, eval_strategy="steps", eval_steps=EVERY),
        train_dataset=Dataset.from_list([messages(train[index]) for index in order]),
        eval_dataset=Dataset.from_list([messages(row) for row in rows.read(paths.SPLITS / "valid.parquet")]),
        processing_class=AutoTokenizer.from_pretrained(paths.BASE),
        peft_config=loop.adapter(section, model, "sft"),
        callbacks=[timer],
    )
    trainer.train()
    report(timer, int(trainer._total_train_tokens), STEPS)


def defaults() -> None:
    """SFTTrainer as its documentation starts it."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    from clew import params, paths, rows
    from clew.training import loop

    section = params.load().sft
    timer = make_timer()
    model = AutoModelForCausalLM.from_pretrained(paths.BASE)
    trainer = SFTTrainer(
        model=str(paths.BASE),
        args=SFTConfig("out", use_cpu=True, max_steps=STEPS, report_to="none", seed=int(os.environ["BENCH_ROUND"])),
        train_dataset=Dataset.from_list([messages(row) for row in rows.read(paths.TRAIN)]),
        peft_config=loop.adapter(section, model, "sft"),
        callbacks=[timer],
    )
    del model
    trainer.train()
    report(timer, int(trainer._total_train_tokens), STEPS)


def llamafactory() -> None:
    """LLaMA-Factory's `train` on the rows that the stage feeds, in this folder; within its own environment."""
    from llamafactory.train.tuner import run_exp

    timer = make_timer()
    run_exp(json.loads(Path("llamafactory.json").read_text(encoding="utf-8")), callbacks=[timer])
    report(timer, json.loads(Path("tokens.json").read_text(encoding="utf-8")), STEPS)


def write_llamafactory(*, recommended: bool) -> None:
    """Its settings: those of its example, or with clew's batch and adapter."""
    from clew import params

    section = params.load().sft
    lora = section.lora
    assert lora is not None
    names = [
        f"layers.{layer}.{'mlp' if name in ('gate_proj', 'up_proj', 'down_proj') else 'self_attn'}.{name}"
        for layer in range(30 - lora.last_layers, 30)
        for name in lora.target_modules
    ]
    config: dict[str, Any] = {
        "model_name_or_path": "models/base",
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_rank": 8,
        "lora_target": "all",
        "dataset": "rows",
        "dataset_dir": ".",
        "template": "smollm2",
        "cutoff_len": 2048,
        "preprocessing_num_workers": 1,
        "output_dir": "llamafactory",
        "overwrite_output_dir": True,
        "logging_steps": 10,
        "save_strategy": "no",
        "report_to": "none",
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 8,
        "learning_rate": 1.0e-4,
        "max_steps": STEPS,
        "lr_scheduler_type": "cosine",
        "warmup_ratio": 0.1,
        "bf16": True,
        "use_cpu": True,
        "disable_shuffling": True,
    }
    if not recommended:
        config |= {
            "lora_rank": lora.rank,
            "lora_alpha": int(lora.alpha),
            "lora_target": ",".join(names),
            "cutoff_len": section.max_length,
            "per_device_train_batch_size": section.batch_size,
            "gradient_accumulation_steps": 1,
            "disable_gradient_checkpointing": True,
        }
    Path("llamafactory.json").write_text(json.dumps(config), encoding="utf-8")


def prepare(folder: Path, work: Path) -> None:
    """A small work tree in `work`: params, links to what FOLDER holds, VALID rows to measure on, the order of rows."""
    from ruamel.yaml import YAML

    from clew import params, paths, rows
    from clew.training import data, device

    shutil.rmtree(work, ignore_errors=True)
    for name in (paths.BASE, paths.TRAIN):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).symlink_to((folder / name).resolve())
    for name in ("dvc.yaml", "requirements.lock", "src"):
        (work / name).symlink_to(ROOT / name)
    os.chdir(work)
    rows.write(paths.SPLITS / "valid.parquet", rows.read(folder / paths.SPLITS / "valid.parquet")[:VALID])
    yaml, train = YAML(), rows.read(paths.TRAIN)
    tree = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    fed = STEPS * tree["sft"]["batch_size"]
    tree["sft"] |= {"epochs": fed / len(train), "eval_steps": EVERY, "checkpoint_steps": EVERY}
    with Path("params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(tree, file)
    subprocess.run(["git", "init", "-q"], check=True)
    section, seed = params.load().sft, params.load().seed
    tokenizer = device.load_tokenizer(paths.BASE)
    lengths = [len(data.encode(tokenizer, row, section.max_length, "sft.max_length")) for row in train]
    order = data.feeding_order(lengths, section.batch_size, section.epochs, seed, "sft.epochs")
    others = sorted(set(range(len(train))) - set(order))
    Path("order.json").write_text(json.dumps(order + others), encoding="utf-8")
    Path("tokens.json").write_text(json.dumps(sum(lengths[index] for index in order)), encoding="utf-8")
    shared = [[*train[i]["messages"], messages(train[i])["completion"][0]] for i in order]
    Path("rows.json").write_text(json.dumps([{"messages": one} for one in shared]), encoding="utf-8")
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    information = {
        "file_name": "rows.json",
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": tags | {"system_tag": "system"},
    }
    Path("dataset_info.json").write_text(json.dumps({"rows": information}), encoding="utf-8")


def set_packing(packing: str) -> None:
    """Write sft.packing into params.yaml, and how many sequences a step has."""
    from ruamel.yaml import YAML

    yaml, file = YAML(), Path("params.yaml")
    tree = yaml.load(file.read_text(encoding="utf-8"))
    size = (TOKENS // tree["sft"]["max_length"] or 1) if packing == "bfd" else ROWS
    tree["sft"] |= {"packing": packing, "batch_size": size, "micro_batch_size": size}
    with file.open("w", encoding="utf-8") as target:
        yaml.dump(tree, target)


CHILDREN: dict[str, Callable[[], None]] = {
    "clew": clew,
    "clew, padding_free": clew,
    "clew, bfd": clew,
    "bare TRL": bare,
    "bare TRL, tuned": lambda: bare(tuned=True),
    "TRL's defaults": defaults,
}
PACKED = ("clew, padding_free", "clew, bfd")
FACTORY = {"LLaMA-Factory, recommended": True, "LLaMA-Factory, same adapter": False}


def run(way: str, number: int, python: str, under: Sequence[str]) -> dict[str, Any]:
    """One process of this way, of this interpreter."""
    from clew import runtime

    shutil.rmtree(".clew", ignore_errors=True)
    shutil.rmtree("out", ignore_errors=True)
    Path(RESULT).unlink(missing_ok=True)
    environment = {**os.environ, "BENCH_ROUND": str(number)}
    environment |= runtime.OFFLINE | (runtime.ENVIRONMENT if "tuned" in way else {})
    set_packing(way.removeprefix("clew, ") if way in PACKED else "none")
    if way in FACTORY:
        write_llamafactory(recommended=FACTORY[way])
        environment |= {"PYTHONPATH": "", "DISABLE_VERSION_CHECK": "1"}
    command = [*under, python, str(Path(__file__).resolve()), ".", "--child", way]
    done = subprocess.run(
        command, env=environment | {STARTED: str(time.time())}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    found: dict[str, Any] = json.loads(Path(RESULT).read_text(encoding="utf-8"))
    return found


def table(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Medians of the rounds, and how much longer a step of clew takes (the median of the rounds' own ratios).

    The last column: the median over the steps of all rounds of how long clew's is to the same step of the other.
    """
    columns = ("start-up", "start-up CPU", "step", "step CPU", "step alone", "tokens/s", "tokens/s CPU")
    print(f"\n| | n | {' | '.join(columns)} | clew's step, wall | CPU | clew's tokens/s | step by step, wall | CPU |")
    print(f"|---|---|{'---|' * (len(columns) + 5)}")
    ours = found["clew"]
    for way, runs in found.items():
        cells = [f"{statistics.median(one[name] for one in runs):.2f}" if name in runs[0] else "" for name in columns]
        for name, inverse in (("step", False), ("step CPU", False), ("tokens/s", True)):
            ratios = [a[name] / b[name] for a, b in zip(ours, runs, strict=True) if name in b]
            mark = "{:.2f} ×" if inverse else "{:.3f}"
            cells.append(mark.format(statistics.median(ratios)) if ratios and way != "clew" else "")
        pairs = [pair for a, b in zip(ours, runs, strict=True) for pair in zip(a["steps"], b["steps"], strict=False)]
        for clock in (0, 1):
            each = statistics.median(one[clock] / other[clock] for one, other in pairs)
            cells.append(f"{each:.3f} (n = {len(pairs)})" if way in SAME_BATCHES else "")
        print(f"| {way} | {len(runs)} | {' | '.join(cells)} |")


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--llamafactory", type=Path, help="the python of a virtual environment that has it")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--under", default="", help="what each run is started with, such as `chrt -r 5`")
    parser.add_argument("--ways", nargs="*", help="only these")
    parser.add_argument("--work", type=Path, default=ROOT / ".clew" / "bench" / "training")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        (CHILDREN | dict.fromkeys(FACTORY, llamafactory))[asked.child]()
        return
    if asked.steps != STEPS:
        os.environ["BENCH_STEPS"] = str(asked.steps)
        os.execv(sys.executable, sys.orig_argv)
    os.environ["OMP_NUM_THREADS"] = str(asked.threads)
    ways = dict.fromkeys(CHILDREN, sys.executable)
    if asked.llamafactory:
        ways |= dict.fromkeys(FACTORY, str(asked.llamafactory.absolute()))
    if asked.ways:
        ways = {way: python for way, python in ways.items() if way in asked.ways}
    prepare(asked.folder.resolve(), asked.work)
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for number in range(asked.rounds):
        for way, python in ways.items():
            found[way].append(run(way, number, python, asked.under.split()))
            short = {name: round(value, 2) for name, value in found[way][-1].items() if name != "steps"}
            print(f"{number} {way}: {short}", file=sys.stderr, flush=True)
    table(found)


if __name__ == "__main__":
    main()
