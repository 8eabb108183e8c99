"""Texts and written answers that a classifier of yours calls toxic; what it said is kept by content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clew import io, paths
from clew.cleaning import classifiers, encoder
from clew.cleaning.finding import Context, Finding, Findings
from clew.errors import ModelError
from clew.ledger import rounded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clew.cleaning.store import Rows
    from clew.params_clean import ToxicityRule


def find(rows: Rows, rule: ToxicityRule, context: Context) -> Findings:  # noqa: ARG001 - a rule's form
    """Rows whose text or written answer has a probability of `rule.label` of at least `rule.threshold`.

    score: the higher of the two; NaN where both are empty. detail: which of the two it was.
    """
    folder = paths.RAW / rule.classifier
    label = _label(folder, rule.label)
    written = [
        None if choices else completion
        for completion, choices in zip(rows.values("completion"), rows.values("choices"), strict=True)
    ]
    both = [*rows.values("text"), *written]
    distinct = sorted({text for text in both if text and text.strip()})
    of_text: dict[str | None, float] = {}
    if distinct:
        of_text = dict(zip(distinct, _probabilities(folder, distinct, rule)[:, label].tolist(), strict=True))
    scores = np.array([of_text.get(text, np.nan) for text in both], dtype=np.float32).reshape(2, len(rows))
    highest = rounded(np.fmax(scores[0], scores[1]))
    found = {
        position: Finding(
            rule.action,
            score=float(highest[position]),
            threshold=rule.threshold,
            detail="the text" if not scores[0, position] < scores[1, position] else "the answer",
        )
        for position in np.flatnonzero(highest >= rule.threshold).tolist()
    }
    return Findings(found, highest)


def _label(folder: Path, name: str) -> int:
    """The position of a class among the classifier's."""
    labels = classifiers.labels(folder, "clean.toxicity.classifier")
    if name not in labels:
        raise ModelError(
            f"the classifier has no class `{name}`; it has {', '.join(labels)}",
            where=str(folder),
            fix="Name one of these as clean.toxicity.label.",
        )
    return labels.index(name)


def _probabilities(folder: Path, texts: Sequence[str], rule: ToxicityRule) -> NDArray[np.float32]:
    """(n, classes), rounded to 16 bits."""
    name = f"classes v1 {rule.max_length} {io.tree_sha256(folder)}"
    return encoder.kept(name, texts, lambda missing: _classified(folder, missing, rule))


def _classified(folder: Path, texts: Sequence[str], rule: ToxicityRule) -> Iterator[NDArray[np.float16]]:
    from tqdm import tqdm
    from transformers import AutoModelForSequenceClassification

    model, tokenizer = classifiers.load(folder, AutoModelForSequenceClassification, "clean.toxicity.classifier")
    most = classifiers.longest(model, tokenizer)
    if rule.max_length > most:
        raise ModelError(
            f"the classifier reads {most} tokens at most, and clean.toxicity.max_length is {rule.max_length}",
            where=str(folder),
            fix=f"Set clean.toxicity.max_length to {most} or less.",
        )
    with tqdm(total=len(texts), desc="toxicity", unit="text", disable=None) as bar:
        for start in range(0, len(texts), encoder.PART):
            some = list(texts[start : start + encoder.PART])
            tokens = tokenizer(some, truncation=True, max_length=rule.max_length)["input_ids"]
            yield _of_model(model, tokens, rule.batch_size, bar)


def _of_model(model: Any, tokens: Sequence[Sequence[int]], batch_size: int, bar: Any) -> NDArray[np.float16]:
    """Probabilities (n, classes): of classes that exclude each other by softmax, of others each by itself."""
    import torch

    by_itself = model.config.problem_type == "multi_label_classification" or model.config.num_labels == 1
    probabilities = np.empty((len(tokens), model.config.num_labels), dtype=np.float16)
    for batch in encoder.of_one_length(tokens, batch_size):
        ids = torch.tensor([tokens[i] for i in batch], device=model.device)
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
            some = logits.sigmoid() if by_itself else logits.softmax(dim=1)
        probabilities[batch] = some.half().cpu().numpy()
        bar.update(len(batch))
    return probabilities
