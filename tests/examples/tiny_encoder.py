"""A BERT small enough to train in a test: two layers of random weights, a piece for each letter."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

from clew import params
from examples import tiny_model

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
MODEL = params.Model(kind="encoder")
CHOICES = ["anger", "fear", "joy"]


def write(folder: Path, *, dropout: float = 0.1, seed: int = 0) -> Path:
    """Tokenizer and model, without a head; returns the folder."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    letters = [*string.ascii_lowercase, *string.digits, *".,?!'"]
    vocabulary = {piece: at for at, piece in enumerate([*SPECIAL, *letters, *(f"##{one}" for one in letters)])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {f"{name.lower()}_token": f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP")}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
    fast.save_pretrained(folder)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=0.2,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def sft_params(**changes: Any) -> params.Sft:
    """A section for the tiny encoder."""
    return tiny_model.sft_params(**{"method": "full", "learning_rate": 0.003, "max_length": 48, **changes})


def labels_row(number: int, labels: list[str], text: str = "") -> dict[str, Any]:
    """A row that may have several labels."""
    answer = ", ".join(labels) or "none"
    return tiny_model.row(number, answer, task="moods", text=text, choices=CHOICES, labels=labels, rejected=None)


def tags_row(number: int, words: str, tags: str) -> dict[str, Any]:
    """A row of tagged words, both parted by spaces."""
    changes = {"tokens": words.split(), "tags": tags.split(), "label": None, "choices": None, "rejected": None}
    return tiny_model.row(number, "entities", task="names", text=words, **changes)


def names(count: int, first: int = 0) -> list[dict[str, Any]]:
    """Rows with a person at one of three places, learnt from the word before it."""
    made = []
    for number in range(first, first + count):
        words, tags = ["we", "saw", "it"], ["O", "O", "O"]
        words[number % 3 : number % 3] = ["mr", f"a{number}b"]
        tags[number % 3 : number % 3] = ["O", "B-PER"]
        made.append(tags_row(number, " ".join(words), " ".join(tags)))
    return made
