"""What an encoder says to rows: the log-probability of each label of the row's task, or each word's likeliest tag.

{"task": "stress", "choices": ["yes", "no"]}   →  scores [-0.2, -1.7], prediction "yes"
{"task": "names", "tokens": ["Ada", "slept"]}  →  predicted ["B-PER", "O"], prediction "PER: Ada"
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from clew.answers import NO_LABEL, entities, joined, parted
from clew.evaluation import scoring
from clew.training.encoding import OUTSIDE, Encoded, Head

Timings = dict[str, list[tuple[int, float]]]


def answers(
    model: Any,
    pad: int,
    head: Head,
    rows: Sequence[Mapping[str, Any]],
    encoded: Sequence[Encoded],
    size: int,
    title: str,
) -> tuple[list[dict[str, Any]], Timings]:
    """What predictions hold beside the row's own columns, in the order of `rows`; (rows, seconds a row) by task.

    A batch holds up to `size` rows of one task, so that its time can be told by task.
    """
    from tqdm import tqdm

    found: list[dict[str, Any]] = [{}] * len(rows)
    seconds: Timings = defaultdict(list)
    with tqdm(total=len(rows), desc=title, unit="row") as bar:
        for task in dict.fromkeys(row["task"] for row in rows):
            of_task = [index for index, row in enumerate(rows) if row["task"] == task]
            for batch in scoring.batches([len(encoded[index]) for index in of_task], size):
                indices = [of_task[at] for at in batch]
                started = time.perf_counter()
                logits = _logits(model, [encoded[index].ids for index in indices], pad)
                seconds[task].append((len(indices), (time.perf_counter() - started) / len(indices)))
                for index, said in zip(indices, logits, strict=True):
                    found[index] = _answer(rows[index], encoded[index], head, said)
                bar.update(len(indices))
    return found, seconds


def _logits(model: Any, texts: Sequence[Sequence[int]], pad: int) -> Any:
    """(rows, outputs), or of tags (rows, tokens, outputs), in float32 on the CPU."""
    import torch

    width = max(map(len, texts))
    ids = torch.tensor([[*text, *[pad] * (width - len(text))] for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (width - len(text)) for text in texts])
    with torch.inference_mode():
        output = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device))
    return output.logits.float().cpu()


def _answer(row: Mapping[str, Any], encoded: Encoded, head: Head, logits: Any) -> dict[str, Any]:
    if head.tags:
        return _tags(row, encoded, head, logits)
    return _labels(row, encoded, logits) if encoded.several else _label(row, encoded, logits)


def _label(row: Mapping[str, Any], encoded: Encoded, logits: Any) -> dict[str, Any]:
    """logits: (outputs,). The scores of a row's choices are their log-probabilities: they sum to 1."""
    import torch

    scores = torch.log_softmax(logits[encoded.allowed], dim=0).tolist()
    choices = row["choices"]
    return {
        "reference": row["completion"],
        "scores": scores,
        "prediction": choices[max(range(len(scores)), key=scores.__getitem__)],
        "logprob": scores[choices.index(row["label"])],
        "tokens": 1,
    }


def _labels(row: Mapping[str, Any], encoded: Encoded, logits: Any) -> dict[str, Any]:
    """Each label by itself: it is predicted where it is likelier than not. scores: its log-probability."""
    import torch

    own = logits[encoded.allowed]
    scores = torch.nn.functional.logsigmoid(own).tolist()
    absent = torch.nn.functional.logsigmoid(-own).tolist()
    predicted = [choice for choice, logit in zip(row["choices"], own.tolist(), strict=True) if logit > 0]
    right = parted(row["label"], row["choices"])
    return {
        "reference": row["completion"],
        "scores": scores,
        "prediction": joined(predicted),
        "logprob": sum(
            yes if choice in right else no for choice, yes, no in zip(row["choices"], scores, absent, strict=True)
        ),
        "tokens": len(scores),
        "labels": right,
        "predicted": predicted,
    }


def _tags(row: Mapping[str, Any], encoded: Encoded, head: Head, logits: Any) -> dict[str, Any]:
    """logits: (tokens, outputs). A word that was cut off, or has no piece, is in no entity."""
    import torch

    log_p = torch.log_softmax(logits[: len(encoded)], dim=1)
    likeliest = log_p.argmax(dim=1).tolist()
    predicted = [OUTSIDE] * len(row["tags"])
    for token, word in enumerate(encoded.words):
        if word is not None:
            predicted[word] = head.classes[likeliest[token]]
    targets = [(token, target) for token, target in enumerate(encoded.targets) if target >= 0]
    return {
        "reference": _told(row["tokens"], row["tags"]),
        "scores": None,
        "prediction": _told(row["tokens"], predicted),
        "logprob": float(sum(log_p[token, target] for token, target in targets)),
        "tokens": len(targets),
        "tags": row["tags"],
        "predicted": predicted,
    }


def _told(tokens: Sequence[str], tags: Sequence[str]) -> str:
    """The entities as text, for people: one a line."""
    return "\n".join(f"{kind}: {text}" for kind, text in entities(tokens, tags)) or NO_LABEL
