"""Names of people and places, by a token classifier that you bring: none that is sound comes with a package.

spans(["Ann went to Rome"], "our-ner", ["PERSON"]) → [[Span("PERSON", 0, 3, 0.9981)]]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from clew import paths
from clew.cleaning import classifiers
from clew.errors import ModelError
from clew.identifiers import Span

USUAL = {"PER": "PERSON", "LOC": "LOCATION", "ORG": "ORGANIZATION"}
"""Labels of CoNLL-2003 and what they are called here."""
BATCH = 16
DIGITS = 4


def spans(texts: Sequence[str], source: str, kinds: Sequence[str]) -> list[list[Span]]:
    """The pieces of each text that the model in data/raw/<source>/ calls one of `kinds`; long texts in windows.

    Raises ModelError where the folder holds no token classifier, or one that does not know a kind.
    """
    from tqdm import tqdm

    recognise = _recogniser(paths.RAW / source, kinds)
    distinct = sorted({text for text in texts if text.strip()}, key=lambda text: (-len(text), text))
    told: dict[str, list[Span]] = {}
    with tqdm(total=len(distinct), desc="names", unit="text", disable=None) as bar:
        for text, found in zip(distinct, recognise((text for text in distinct), batch_size=BATCH), strict=True):
            told[text] = list(_of_kinds(text, found, kinds))
            bar.update()
    return [told.get(text, []) for text in texts]


def _of_kinds(text: str, found: Sequence[dict[str, Any]], kinds: Sequence[str]) -> Iterator[Span]:
    for one in found:
        kind = USUAL.get(one["entity_group"], one["entity_group"])
        start, end = one["start"], one["end"]
        while start < end and text[start].isspace():
            start += 1
        if kind in kinds and start < end:
            yield Span(kind, start, end, round(float(one["score"]), DIGITS))


def _recogniser(folder: Path, kinds: Sequence[str]) -> Any:
    from transformers import AutoModelForTokenClassification, TokenClassificationPipeline

    model, tokenizer = classifiers.load(folder, AutoModelForTokenClassification, "clean.personal_data.recogniser")
    labels = {str(label).removeprefix("B-").removeprefix("I-") for label in model.config.id2label.values()} - {"O"}
    known = sorted({USUAL.get(label, label) for label in labels})
    if unknown := [kind for kind in kinds if kind not in known]:
        raise ModelError(
            f"the recogniser does not know {', '.join(unknown)}; it knows {', '.join(known)}",
            where=str(folder),
            fix="Name some of these in clean.personal_data.entities.",
        )
    tokenizer.model_max_length = classifiers.longest(model, tokenizer)
    return TokenClassificationPipeline(
        model=model,
        tokenizer=tokenizer,
        aggregation_strategy="first",
        stride=tokenizer.model_max_length // 4,
        device=model.device,
    )
