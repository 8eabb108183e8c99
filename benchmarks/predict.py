"""How fast predict scores choices, beside one forward pass for each (prompt, choice); and how fast it writes text.

    python benchmarks/predict.py FOLDER [--rows 48] [--rounds 3]

FOLDER holds what a finished default experiment made (data/splits/test.parquet, models/base); it is only read. All rows
of a task are put into batches as the stage does, of which some, evenly from long to short, are scored three ways in
turn in one process, so that other work on the machine disturbs all alike:

- plain: a forward pass for each (prompt, choice), one at a time.
- batched: the same, predict.batch_size of like length at a time, padded.
- clew: as the stage does, predict.batch_size rows at a time; the task's opening (see `scoring`) counts by the share
  of its rows that are scored.

Same weights, precision and threads. Text: prompts one at a time against batches of like length. Ratios are of the
seconds of a round, their median over the rounds; scores are compared pair by pair.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from clew import params, paths, rows
from clew.evaluation import scoring
from clew.stages import predict
from clew.training import device

ROOT = Path(__file__).resolve().parents[1]
Pair = tuple[list[int], list[int]]


def plain(model: Any, pairs: Sequence[Pair], pad: int) -> list[float]:
    """The log-likelihood of each answer after its prompt: the whole pair is one row, padded on the right."""
    width = max(len(prompt) + len(answer) for prompt, answer in pairs)
    ids = torch.tensor([prompt + answer + [pad] * (width - len(prompt) - len(answer)) for prompt, answer in pairs])
    mask = torch.tensor([[int(at < len(p) + len(a)) for at in range(width)] for p, a in pairs])
    with torch.inference_mode():
        log_p = model(input_ids=ids, attention_mask=mask, use_cache=False).logits.float().log_softmax(-1)
    return [
        float(log_p[row, range(len(prompt) - 1, len(prompt) - 1 + len(answer)), answer].sum())
        for row, (prompt, answer) in enumerate(pairs)
    ]


def one_by_one(model: Any, questions: Sequence[scoring.Question], pad: int) -> list[list[float]]:
    """`plain`, a pair at a time."""
    return [[plain(model, [(q.prompt, answer)], pad)[0] for answer in q.answers] for q in questions]


def batched(model: Any, questions: Sequence[scoring.Question], pad: int) -> list[list[float]]:
    """`plain`, as many pairs at a time as there are questions."""
    pairs = [(question.prompt, answer) for question in questions for answer in question.answers]
    scores: list[float] = []
    for start in range(0, len(pairs), len(questions)):
        scores += plain(model, pairs[start : start + len(questions)], pad)
    found = iter(scores)
    return [[next(found) for _ in question.answers] for question in questions]


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What comes out, and after how many seconds of the processor: other work on the machine disturbs them less."""
    start = time.process_time()
    made = work()
    return made, time.process_time() - start


def score_table(
    model: Any, tokenizer: Any, tasks: dict[str, list[Any]], section: params.Predict, rows: int, rounds: int
) -> None:
    """One line a task, and one of all."""
    pad, ways = tokenizer.pad_token_id, ("plain", "batched", "clew")
    share = 0.0 if section.precision == "float32" else predict.WORTH
    print(
        "| task | choices | rows | n | plain, s | batched, s | clew, s | plain/clew | batched/clew | scores differ by |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    every = [dict.fromkeys(ways, 0.0) for _ in range(rounds)]
    for task, questions in tasks.items():
        batches = list(scoring.batches([len(question) for question in questions], section.batch_size))
        step = max(1, len(questions) // rows)
        batches = batches[step // 2 :: step]
        count = sum(map(len, batches))
        seconds: list[dict[str, float]] = []
        furthest = 0.0
        for _ in range(rounds):
            opening, took = timed(lambda questions=questions: scoring.read_opening(model, questions, share))
            seconds.append({"plain": 0.0, "batched": 0.0, "clew": took * count / len(questions)})
            for batch in batches:
                here, found = [questions[index] for index in batch], {}
                for name, way in (
                    ("plain", lambda here=here: one_by_one(model, here, pad)),
                    ("batched", lambda here=here: batched(model, here, pad)),
                    ("clew", lambda here=here, opening=opening: scoring.score(model, here, pad, opening)),
                ):
                    found[name], took = timed(way)
                    seconds[-1][name] += took
                for ours, theirs in zip(found["clew"], found["plain"], strict=True):
                    furthest = max([furthest, *(abs(a - b) for a, b in zip(ours, theirs, strict=True))])
        each = [statistics.median(one[name] for one in seconds) for name in ways]
        ratios = [statistics.median(one[name] / one["clew"] for one in seconds) for name in ("plain", "batched")]
        cells = [f"{value:.2f}" for value in each] + [f"{ratio:.2f} ×" for ratio in ratios] + [f"{furthest:.1e}"]
        print(f"| {task} | {len(questions[0].answers)} | {count} | {rounds} | {' | '.join(cells)} |", flush=True)
        for total, one in zip(every, seconds, strict=True):
            for name in ways:
                total[name] += one[name]

    ratios = [statistics.median(one[name] / one["clew"] for one in every) for name in ("plain", "batched")]
    print(f"\nAll: {ratios[0]:.2f} × as fast as plain, {ratios[1]:.2f} × as batched")


def text_line(model: Any, tokenizer: Any, prompts: list[list[int]], section: params.Predict, rounds: int) -> None:
    """Seconds of writing, one prompt at a time and in batches."""
    order = list(scoring.batches([len(prompt) for prompt in prompts], section.batch_size))
    ratios, same = [], True
    for _ in range(rounds):
        alone, slow = timed(
            lambda: [scoring.generate(model, tokenizer, [p], section.max_new_tokens)[0] for p in prompts]
        )
        together, fast = timed(
            lambda: [
                scoring.generate(model, tokenizer, [prompts[i] for i in batch], section.max_new_tokens)
                for batch in order
            ]
        )
        ratios.append(slow / fast)
        texts = {
            i: text for batch, found in zip(order, together, strict=True) for i, text in zip(batch, found, strict=True)
        }
        same = same and [texts[i] for i in range(len(prompts))] == alone
    faster = f"{statistics.median(ratios):.2f} ×"
    print(f"\nText: {len(prompts)} prompts, n = {rounds}: batches {faster} as fast; same texts: {same}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--tasks", nargs="*", help="only these; `text` writes")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    section = params.load(ROOT / "params.yaml").predict.model_copy(update={"precision": asked.precision})
    where = device.pick(section.precision, "sdpa")
    tokenizer = device.load_tokenizer(asked.folder / paths.BASE)
    model = device.load_model(asked.folder / paths.BASE, where).eval()
    tasks: dict[str, list[Any]] = {}
    prompts: list[list[int]] = []
    for row in rows.read(asked.folder / paths.SPLITS / "test.parquet"):
        question = predict._question(tokenizer, row, section.max_length)
        if not row["choices"]:
            prompts.append(question.prompt)
        else:
            tasks.setdefault(row["task"], []).append(question)
    chosen = asked.tasks or [*tasks, "text"]
    tasks = {task: questions for task, questions in tasks.items() if task in chosen}
    with where.autocast():
        if tasks:
            score_table(model, tokenizer, tasks, section, asked.rows, asked.rounds)
        if "text" in chosen:
            text_line(model, tokenizer, prompts, section, asked.rounds)


if __name__ == "__main__":
    main()
