"""Texts and written answers that the user's classifier calls toxic are found; a classifier that is none is told."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clew import paths
from clew.cleaning import toxicity
from clew.cleaning.finding import Findings
from clew.errors import ModelError
from clew.params_clean import ToxicityRule
from examples.clean_rows import CONTEXT, row, stored

RULE = ToxicityRule(action="drop", classifier="tox", label="toxic", threshold=0.5, batch_size=3, max_length=16)
LETTERS = "abcdefghijklmnopqrstuvwxyz "


def _write(folder: Path, head: bool = True, problem: str | None = None, seed: int = 0) -> None:
    """A BERT of two layers, width 32, random weights, one token a character, with the classes fine and toxic."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3} | {letter: 4 + i for i, letter in enumerate(LETTERS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(
        vocab_size=len(vocabulary),
        max_position_embeddings=66,
        initializer_range=0.5,
        id2label={0: "fine", 1: "toxic"},
        label2id={"fine": 0, "toxic": 1},
        problem_type=problem,
        **sizes,
    )
    (BertForSequenceClassification if head else BertModel)(config).save_pretrained(folder)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    source = paths.RAW / "tox"
    source.mkdir(parents=True)
    _write(source)
    return source


def _texts(count: int) -> list[str]:
    draw = random.Random(0)
    return ["".join(draw.choices(LETTERS, k=draw.randrange(1, 30))) + "x" for _ in range(count)]


def _find(rows: Sequence[dict[str, Any]], rule: ToxicityRule = RULE) -> Findings:
    return toxicity.find(stored(rows), rule, CONTEXT)


def _written(text: str | None, answer: str | None) -> dict[str, Any]:
    return row(text, label=None, choices=None, completion=answer)


@pytest.mark.parametrize("problem", [None, "multi_label_classification"])
def test_scores_are_what_transformers_says(folder: Path, problem: str | None) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    _write(folder, problem=problem)
    texts = _texts(12)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        logits = [
            model(**tokenizer(text, truncation=True, max_length=16, return_tensors="pt")).logits[0] for text in texts
        ]
    both = torch.stack(logits)
    wanted = (both.sigmoid() if problem else both.softmax(dim=1))[:, 1].numpy()
    scores = _find([row(text) for text in texts]).scores
    assert scores is not None
    np.testing.assert_allclose(scores, wanted, atol=1e-3)
    assert wanted.max() - wanted.min() > 0.05


def test_the_higher_of_text_and_written_answer_counts(folder: Path) -> None:
    texts = _texts(12)
    alone = _find([row(text) for text in texts]).scores
    assert alone is not None
    order = alone.argsort()
    low, high = texts[order[0]], texts[order[-1]]
    rule = RULE.model_copy(update={"threshold": float(alone.max())})
    rows = [_written(low, high), _written(high, low), row(low, label=high, choices=[high, low]), _written(low, None)]
    findings = _find(rows, rule)
    assert {at: one.detail for at, one in findings.by_position.items()} == {0: "the answer", 1: "the text"}
    assert findings.scores is not None
    np.testing.assert_array_equal(findings.scores, alone[order[[-1, -1, 0, 0]]])


def test_a_text_is_asked_once_and_scores_do_not_follow_the_batch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    original = toxicity._of_model

    def counted(model: Any, tokens: Any, *more: Any) -> Any:
        asked.append(len(tokens))
        return original(model, tokens, *more)

    monkeypatch.setattr(toxicity, "_of_model", counted)
    texts = _texts(12)
    first = _find([row(text) for text in texts]).scores
    again = _find([row(text) for text in [*texts[::-1], "new"]]).scores
    assert asked == [len(set(texts)), 1]
    assert first is not None
    assert again is not None
    np.testing.assert_array_equal(again[:-1][::-1], first)
    for path in paths.FEATURES.rglob("*.parquet"):
        path.unlink()
    alone = [_find([row(text)], RULE.model_copy(update={"batch_size": 1})).scores for text in texts]
    np.testing.assert_array_equal(np.concatenate([one for one in alone if one is not None]), first)


def test_empty_texts_and_no_rows_have_no_score(folder: Path) -> None:
    scores = _find([_written("", None), _written(None, " "), _written(" ", "a")]).scores
    assert scores is not None
    assert np.isnan(scores).tolist() == [True, True, False]
    assert _find([_written(None, None)]).by_position == {}
    assert _find([]).by_position == {}


def test_classifiers_that_are_none_or_lack_the_class_are_told(folder: Path) -> None:
    rows = [row("a")]
    with pytest.raises(ModelError, match="has no class `Toxic`; it has fine, toxic"):
        _find(rows, RULE.model_copy(update={"label": "Toxic"}))
    with pytest.raises(ModelError, match=r"data/raw/gone: there is no classifier \(config.json\).*clean.toxicity"):
        _find(rows, RULE.model_copy(update={"classifier": "gone"}))
    with pytest.raises(ModelError, match=r"reads 64 tokens at most, and clean.toxicity.max_length is 65"):
        _find(rows, RULE.model_copy(update={"max_length": 65}))
    _write(folder, head=False)
    with pytest.raises(ModelError, match=r"not trained to classify: it lacks classifier.bias"):
        _find(rows)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="the classifier cannot be read"):
        _find(rows)
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match="the classifier cannot be read"):
        _find(rows)
