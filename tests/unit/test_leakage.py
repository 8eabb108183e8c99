"""What train knows of the other sides is found: likes by their shingles, contamination by n-grams."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clew import leakage, params

NEAR = params.Leakage(near=0.6, shingle=2, permutations=128, action="fail", max_share=0)
TEXT = "the patient has had a headache since the day before yesterday and cannot sleep at all"
SENTENCES = st.lists(st.lists(st.sampled_from("ab"), max_size=8).map(" ".join), max_size=8)


def _texts(train: list[str], held: list[str]) -> tuple[pa.ChunkedArray, np.ndarray, np.ndarray]:
    is_train = np.array([True] * len(train) + [False] * len(held), dtype=bool)
    return pa.chunked_array([pa.array([*train, *held], type=pa.large_string())]), is_train, ~is_train


def test_likes_are_found_across_the_sides_only() -> None:
    train, held = [TEXT, "something else entirely here", f"Well, {TEXT}"], [f"{TEXT}!!", "nothing like it in train"]
    found = leakage.near(*_texts(train, held), NEAR, 0)
    pairs = sorted(zip(found.train.tolist(), found.held.tolist(), found.jaccard.tolist(), strict=True))
    assert pairs == [(0, 3, 1), (2, 3, pytest.approx(15 / 16))]


def test_every_text_of_train_that_is_like_one_of_many_is_found() -> None:
    """Far more than a bucket of which all pairs are measured."""
    found = leakage.near(*_texts([TEXT] * 300, [TEXT, *[f"unlike {n}" for n in range(50)], TEXT]), NEAR, 0)
    assert set(found.train.tolist()) == set(range(300))
    assert set(found.held.tolist()) == {300, 351}


@pytest.mark.parametrize("held", [12, 150, 288])
def test_every_held_text_that_is_like_one_of_train_is_found(held: int) -> None:
    """Form letters that differ in a word: one bucket, in which either side may be the larger."""
    words = [f"w{n}" for n in range(60)]
    letters = [" ".join([*words[:30], f"id{n}", *words[30:]]) for n in range(300)]
    found = leakage.near(*_texts(letters[held:], letters[:held]), NEAR, 0)
    assert set(found.train.tolist()) == set(range(300 - held))
    assert set(found.held.tolist()) == set(range(300 - held, 300))


def _ngrams(text: str, n: int) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[i : i + n]) for i in range(max(len(words) - n + 1, 1))} if words else set()


@settings(deadline=None)
@given(SENTENCES, SENTENCES, st.integers(1, 4))
def test_the_overlap_is_the_share_of_n_grams_that_stand_in_train(train: list[str], held: list[str], n: int) -> None:
    texts, is_train, is_held = _texts(train, held)
    known = set().union(*(_ngrams(text, n) for text in train))
    expected = [len(_ngrams(text, n) & known) / max(len(_ngrams(text, n)), 1) for text in held]
    assert leakage.overlap(texts, is_train, is_held, n).tolist() == pytest.approx(expected)
    asked = set().union(*(_ngrams(text, n) for text in held))
    shared = [len(_ngrams(text, n) & asked) / max(len(_ngrams(text, n)), 1) for text in train]
    assert leakage.sharing(texts, is_train, is_held, n).tolist() == pytest.approx(shared)


def test_a_text_put_together_from_several_of_train_is_contaminated() -> None:
    rule = params.Contamination(ngram=3, overlap=0.5, benchmarks=(), action="fail", max_share=0)
    train = ["a b c d", "and then e f g h"]
    texts, is_train, held = _texts(train, ["a b c d e f g h", "a b c x y z", "h g f e"])
    found, shares = leakage.contaminated(texts, is_train, held, rule)
    assert found.tolist() == [2]
    assert shares.tolist() == pytest.approx([4 / 6])
