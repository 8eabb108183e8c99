"""predict: models/<variant> on data/splits/test.parquet → data/predictions/<variant>.parquet, a row a prediction."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from clew import answers, io, paths, rows
from clew.errors import DataError
from clew.evaluation import encoders, scoring
from clew.training import data, device, encoder, encoding

if TYPE_CHECKING:
    from clew import params

TEST = paths.SPLITS / "test.parquet"
RESAMPLES = 1000
WORTH = 0.25
"""The share of its prompts that a task's opening must be to be read once for all, where the precision is not float32: a
pass of another shape rounds otherwise, and in bfloat16 that can turn answers that are nearly equal."""


def run(predict: params.Predict, model: params.Model, item: str, seed: int) -> dict[str, Any]:
    """Score the choices of every test row, or write its text; and score the answer that was wanted.

    An encoder scores the labels, or tags the words.
    """
    where = replace(device.pick(predict.precision), attention="sdpa")  # flash attention takes no mask of ours
    device.make_deterministic(seed)
    folder = paths.MODELS / item
    test = rows.read(TEST)
    if not test:
        raise DataError("there are no test rows", where=str(TEST), fix="Raise split.limits.<task>.test.")
    if model.kind == "encoder":
        return _encoder(predict, item, seed, where, test)
    tokenizer = device.load_tokenizer(folder)
    questions = [_question(tokenizer, row, predict.max_length) for row in test]
    decoder = device.load_model(folder, where)
    device.check_fit(decoder, tokenizer, folder)
    behind = getattr(decoder, "base", decoder)  # of one that has a prompt or prefix before it
    device.check_length(behind, predict.max_length, "predict.max_length")
    with device.memory_advice("predict.batch_size", "predict.max_length"), where.autocast():
        scores, texts, seconds = _answers(decoder, tokenizer, test, questions, predict, where, item)
    predictions = [_prediction(*of_row) for of_row in zip(test, questions, scores, texts, strict=True)]
    io.write_parquet(paths.PREDICTIONS / f"{item}.parquet", predictions, rows.PREDICTION_SCHEMA)
    cut = Counter(row["task"] for row, question in zip(test, questions, strict=True) if question.cut)
    return where.facts() | {"rows": len(test), "rows_cut": dict(cut), "seconds_per_example": _intervals(seconds, seed)}


def _encoder(
    predict: params.Predict, item: str, seed: int, where: device.Device, test: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    folder = paths.MODELS / item
    tokenizer, model = encoding.load_tokenizer(folder), encoder.load_model(folder, where)
    device.check_length(model, predict.max_length, "predict.max_length")
    head = encoding.head_of(model.config)
    encoded = [encoding.encode(tokenizer, row, head, predict.max_length) for row in test]
    with device.memory_advice("predict.batch_size", "predict.max_length"), where.autocast():
        answered, seconds = encoders.answers(
            model, tokenizer.pad_token_id, head, test, encoded, predict.batch_size, f"predict {item}"
        )
    own = ("row_id", "source", "task", "label", "choices", "groups")
    predictions = [{name: row[name] for name in own} | answer for row, answer in zip(test, answered, strict=True)]
    io.write_parquet(paths.PREDICTIONS / f"{item}.parquet", predictions, rows.PREDICTION_SCHEMA)
    cut = Counter(row["task"] for row, one in zip(test, encoded, strict=True) if one.cut)
    return where.facts() | {"rows": len(test), "rows_cut": dict(cut), "seconds_per_example": _intervals(seconds, seed)}


def _question(tokenizer: Any, row: Mapping[str, Any], max_length: int) -> scoring.Question:
    """The row in tokens. Its answers: each choice, or for free text the completion that was wanted."""
    encoded = [
        data.encode(tokenizer, row, max_length, "predict.max_length", completion=answer)
        for answer in rows.scored(row) or [row["completion"]]
    ]
    prompt = min((example.prompt for example in encoded), key=len)
    return scoring.Question(prompt, [e.completion for e in encoded], any(e.cut for e in encoded))


def _answers(
    model: Any,
    tokenizer: Any,
    test: Sequence[Mapping[str, Any]],
    questions: Sequence[scoring.Question],
    predict: params.Predict,
    where: device.Device,
    item: str,
) -> tuple[list[list[float]], list[str | None], dict[str, list[tuple[int, float]]]]:
    """Scores and texts (null for choices) in the order of `test`, and (rows, seconds a row) of every batch, by task.

    A batch holds rows of one task, so that its time can be told by task.
    """
    from tqdm import tqdm

    share = 0.0 if where.precision == "float32" else WORTH
    scores: list[list[float]] = [[]] * len(test)
    texts: list[str | None] = [None] * len(test)
    seconds: dict[str, list[tuple[int, float]]] = defaultdict(list)
    with tqdm(total=len(test), desc=f"predict {item}", unit="row") as bar:
        for task in dict.fromkeys(row["task"] for row in test):
            of_task = [index for index, row in enumerate(test) if row["task"] == task]
            opening = scoring.read_opening(model, [questions[index] for index in of_task], share)
            for batch in scoring.batches([len(questions[index]) for index in of_task], predict.batch_size):
                indices = [of_task[at] for at in batch]
                here = [questions[index] for index in indices]
                started = time.perf_counter()
                scored = scoring.score(model, here, tokenizer.pad_token_id, opening)
                asked = [at for at, index in enumerate(indices) if not rows.scored(test[index])]
                if asked:
                    started = time.perf_counter()  # writing is the answer; scoring the wanted text is extra
                    prompts = [here[at].prompt for at in asked]
                    written = scoring.generate(model, tokenizer, prompts, predict.max_new_tokens)
                    for at, text in zip(asked, written, strict=True):
                        texts[indices[at]] = text
                seconds[task].append((len(indices), (time.perf_counter() - started) / len(indices)))
                for index, found in zip(indices, scored, strict=True):
                    scores[index] = found
                bar.update(len(indices))
    return scores, texts, seconds


def _prediction(
    row: Mapping[str, Any], question: scoring.Question, scores: Sequence[float], text: str | None
) -> dict[str, Any]:
    choices = rows.scored(row)
    wanted = choices.index(row["completion"]) if choices else 0
    return {
        "row_id": row["row_id"],
        "source": row["source"],
        "task": row["task"],
        "label": row["label"],
        "reference": row["completion"],
        "choices": row["choices"],
        "scores": list(scores) if choices else None,
        "prediction": choices[max(range(len(scores)), key=scores.__getitem__)] if choices else text,
        "logprob": scores[wanted],
        "tokens": len(question.answers[wanted]),
        "groups": row["groups"],
        "labels": None if row["labels"] is None else answers.parted(row["label"], row["choices"]),
        "predicted": None if row["labels"] is None else answers.parted(text or "", row["choices"]),
    }


def _intervals(seconds: Mapping[str, Sequence[tuple[int, float]]], seed: int) -> dict[str, dict[str, Any]]:
    """Mean seconds a row by task, with a 95 % bootstrap interval over its batches (null for a single batch)."""
    import numpy as np

    found = {}
    for task, measured in seconds.items():
        rows, each = np.array(measured, dtype=np.float64).T
        low = high = None
        if len(measured) > 1:
            draws = np.random.default_rng(seed).integers(len(measured), size=(RESAMPLES, len(measured)))
            means = (rows[draws] * each[draws]).sum(axis=1) / rows[draws].sum(axis=1)
            low, high = (float(bound) for bound in np.percentile(means, (2.5, 97.5)))
        mean = float((rows * each).sum() / rows.sum())
        found[task] = {"value": mean, "low": low, "high": high, "n": int(rows.sum())}
    return found
