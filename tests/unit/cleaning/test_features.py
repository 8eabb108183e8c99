"""Texts become vectors: the same text the same one, and an encoder's are computed once."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew import paths
from clew.cleaning import encoder, features
from clew.errors import DataError, ModelError
from clew.params_clean import EncoderFeatures, GivenFeatures, TfidfFeatures

TFIDF = TfidfFeatures(kind="tfidf", dimensions=4)
ENCODER = EncoderFeatures(kind="encoder", source="tiny", batch_size=3, max_length=16)
GIVEN = GivenFeatures(kind="given", source="ours", file="vectors.parquet")


@given(st.lists(st.text(max_size=12), max_size=12))
def test_any_texts_become_vectors_of_length_one_or_nought(texts: list[str]) -> None:
    vectors = features.embed(texts, TFIDF, 0)
    assert vectors.dtype == np.float32
    assert len(vectors) == len(texts)
    lengths = np.linalg.norm(vectors, axis=1)
    assert np.all(np.isclose(lengths, 1, atol=1e-4) | (lengths == 0))
    assert not lengths[[not text.strip() for text in texts]].any()


def test_texts_that_share_words_are_nearer_than_others() -> None:
    texts = ["the heart beats fast", "a fast heart", "tax law and courts", "courts of law", "心臓が速い", "心臓は速い"]
    vectors = features.embed(texts, TfidfFeatures(kind="tfidf", dimensions=6), 0)
    near = (vectors @ vectors.T - 2 * np.eye(6)).argmax(axis=1)
    assert near.tolist() == [1, 0, 3, 2, 5, 4]


def test_what_tfidf_learns_from_does_not_follow_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "SAMPLE", 20)
    texts = [f"word{i % 7} thing{i % 5} number{i}" for i in range(60)]
    vectors = features.embed(texts, TFIDF, 0)
    assert vectors.shape == (60, 4)
    np.testing.assert_array_equal(features.embed(texts[::-1], TFIDF, 0)[::-1], vectors)


def _write_encoder(folder: Path, seed: int = 0, positions: int = 64) -> None:
    """A BERT of two layers, width 32, random weights, one token a character."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3}
    vocabulary |= {letter: 4 + i for i, letter in enumerate("abcdefghijklmnopqrstuvwxyz ")}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(vocabulary), max_position_embeddings=positions, **sizes)
    BertModel(config).save_pretrained(folder)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder's folder."""
    folder = tmp_path_factory.mktemp("encoder")
    _write_encoder(folder)
    return folder


@pytest.fixture
def counted(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A repository whose source `tiny` is the encoder; the list grows by the number of texts that each run embeds."""
    monkeypatch.chdir(tmp_path)
    paths.RAW.mkdir(parents=True)
    (paths.RAW / "tiny").symlink_to(written)
    counts: list[int] = []
    pooled = encoder._pooled

    def count(model: Any, tokens: Any, *more: Any) -> Any:
        counts.append(len(tokens))
        return pooled(model, tokens, *more)

    monkeypatch.setattr(encoder, "_pooled", count)
    return counts


TEXTS = ["a short one", "another", "a third that is longer than sixteen", "another", " ", "z"]


def test_a_text_that_is_added_is_the_only_one_embedded(counted: list[int]) -> None:
    first = features.embed(TEXTS, ENCODER, 0)
    again = features.embed([*TEXTS, "new here"], ENCODER, 0)
    assert counted == [4, 1]
    np.testing.assert_array_equal(again[:-1], first)
    assert features.embed(TEXTS[::-1], ENCODER, 0).shape == first.shape
    assert counted == [4, 1]


def test_a_text_has_the_same_embedding_whatever_its_neighbours(counted: list[int], tmp_path: Path) -> None:
    texts = ["abc " * n + "x" * m for n in range(3) for m in range(1, 5)]
    together = features.embed(texts, ENCODER, 0)
    for path in paths.FEATURES.rglob("*.parquet"):
        path.unlink()
    alone = np.concatenate([features.embed([text], ENCODER, 0) for text in texts])
    np.testing.assert_array_equal(alone, together)
    assert counted == [12] + [1] * 12


def test_it_is_the_mean_over_the_tokens(counted: list[int], written: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(written).eval()
    tokenizer = AutoTokenizer.from_pretrained(written, pad_token="[PAD]")  # noqa: S106
    tokens = tokenizer(TEXTS[:3], truncation=True, max_length=16, padding=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).last_hidden_state
    mask = tokens["attention_mask"][:, :, None]
    means = torch.nn.functional.normalize((hidden * mask).sum(dim=1) / mask.sum(dim=1), dim=1).numpy()
    np.testing.assert_allclose(features.embed(TEXTS[:3], ENCODER, 0), means, atol=1e-3)


@pytest.mark.parametrize("damage", ["cut", "flipped", "other"])
def test_a_damaged_part_is_made_again(counted: list[int], damage: str) -> None:
    first = features.embed(TEXTS, ENCODER, 0)
    [part] = paths.FEATURES.rglob("*.parquet")
    content = bytearray(part.read_bytes())
    if damage == "other":
        pq.write_table(pa.table({"a": [1]}), part)
    else:
        content[len(content) // 2] ^= 1
        part.write_bytes(content[: len(content) // 2] if damage == "cut" else content)
    np.testing.assert_array_equal(features.embed(TEXTS, ENCODER, 0), first)
    assert counted == [4, 4]
    assert len(list(paths.FEATURES.rglob("*.parquet"))) == 1


def test_another_encoder_or_length_has_embeddings_of_its_own(counted: list[int], tmp_path: Path) -> None:
    first = features.embed(TEXTS, ENCODER, 0)
    assert not np.array_equal(features.embed(TEXTS, ENCODER.model_copy(update={"max_length": 4}), 0), first)
    _write_encoder(paths.RAW / "second", seed=1)
    assert not np.array_equal(features.embed(TEXTS, ENCODER.model_copy(update={"source": "second"}), 0), first)
    assert counted == [4, 4, 4]


def test_a_folder_without_an_encoder_and_texts_too_long_for_it_are_told(counted: list[int]) -> None:
    with pytest.raises(ModelError, match=r"reads 64 tokens at most, and clean.features.max_length is 65"):
        features.embed(["a"], ENCODER.model_copy(update={"max_length": 65}), 0)
    (paths.RAW / "empty").mkdir()
    with pytest.raises(ModelError, match=r"data/raw/empty: there is no encoder \(config.json\)"):
        features.embed(["a"], ENCODER.model_copy(update={"source": "empty"}), 0)
    (paths.RAW / "empty/config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match=r"data/raw/empty: the encoder cannot be read"):
        features.embed(["a"], ENCODER.model_copy(update={"source": "empty"}), 0)


def _give(texts: list[str], embeddings: Any) -> None:
    (paths.RAW / "ours").mkdir(parents=True)
    digests = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    pq.write_table(pa.table({"text_sha256": digests, "embedding": embeddings}), paths.RAW / "ours/vectors.parquet")


def test_given_embeddings_are_taken_by_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _give(["a", "b", "not asked for"], [[3.0, 4.0], [0.0, 2.0], [1.0, 1.0]])
    vectors = features.embed(["b", "a", "", "b"], GIVEN, 0)
    np.testing.assert_allclose(vectors, [[0, 1], [0.6, 0.8], [0, 0], [0, 1]])
    with pytest.raises(DataError, match="2 of 3 texts have no embedding there, such as 'c'"):
        features.embed(["a", "c", "d"], GIVEN, 0)


@pytest.mark.parametrize(
    ("embeddings", "said"),
    [
        ([[1.0, 2.0], [1.0]], "of several lengths"),
        ([[1.0, 2.0], None], "of several lengths"),
        ([[1.0], [float("nan")]], "no number"),
        ([[1.0], [None]], "no number"),
        ([[], []], "of several lengths"),
        (["x", "y"], "no embeddings"),
    ],
)
def test_given_embeddings_that_are_none_are_told(
    embeddings: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _give(["a", "b"], embeddings)
    with pytest.raises(DataError, match=rf"data/raw/ours/vectors.parquet: .*{said}"):
        features.embed(["a", "b"], GIVEN, 0)


def test_a_file_of_embeddings_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"data/raw/ours/vectors.parquet: no embeddings"):
        features.embed(["a"], GIVEN, 0)
