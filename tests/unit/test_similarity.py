"""Near duplicates: every pair that is told is one, nearly all are told, and the same ones each time."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clew import similarity
from clew.cleaning import features
from clew.params_clean import TfidfFeatures

WORDS = st.text(alphabet="ab", min_size=1, max_size=2)
SENTENCES = st.lists(st.lists(WORDS, max_size=9).map(" ".join), max_size=30)


def _texts(texts: list[str | None]) -> similarity.Texts:
    return similarity.in_memory(pa.array(texts, type=pa.string()))


def _pairs(texts: list[str | None], threshold: float = 0.5, shingle: int = 2, **more: np.ndarray) -> similarity.Pairs:
    return similarity.near_pairs(_texts(texts), threshold, shingle, 128, 7, **more)


def _sets(texts: list[str], size: int) -> list[set[tuple[str, ...]]]:
    """Shingles the plain way."""
    cut = [text.split() for text in texts]
    return [
        {tuple(words[i : i + size]) for i in range(max(len(words) - size + 1, 1))} if words else set() for words in cut
    ]


def _jaccard(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> float:
    return round(len(one & other) / len(one | other), 6)


def _told(pairs: similarity.Pairs) -> dict[tuple[int, int], float]:
    return dict(zip(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True), pairs.jaccard.tolist(), strict=True))


@settings(deadline=None)
@given(SENTENCES, st.integers(1, 4))
def test_what_is_told_of_a_pair_is_its_jaccard_similarity(texts: list[str], size: int) -> None:
    sets = _sets(texts, size)
    for (left, right), found in _told(_pairs(texts, shingle=size)).items():
        assert left < right
        assert sets[left]
        assert found == _jaccard(sets[left], sets[right])


def _posts(number: int, near: int, seed: int = 0) -> list[str]:
    """Posts of 50 words; the last `near` are earlier ones with up to three words changed."""
    draw = random.Random(seed)
    words = [f"w{n}" for n in range(3000)]
    posts = [draw.choices(words, k=50) for _ in range(number - near)]
    for copied in draw.sample(posts, near):
        again = list(copied)
        for place in draw.sample(range(50), draw.randint(0, 3)):
            again[place] = draw.choice(words)
        posts.append(again)
    return [" ".join(post) for post in posts]


def test_nearly_all_pairs_are_found() -> None:
    texts = _posts(1500, 500)
    sets = _sets(texts, 3)
    near = {
        (left, right): found
        for right in range(len(texts))
        for left in range(right)
        if sets[left] & sets[right] and (found := _jaccard(sets[left], sets[right])) >= 0.8
    }
    told = {pair: found for pair, found in _told(_pairs(texts, 0.8, 3)).items() if found >= 0.8}
    assert len(near) > 200
    assert told.items() <= near.items()
    assert len(told) >= 0.99 * len(near)


def test_the_pairs_do_not_follow_the_order_of_the_texts_nor_the_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = _posts(300, 100)
    shuffled = random.Random(1).sample(texts, len(texts))

    def told(of: list[str]) -> set[tuple[tuple[str, ...], float]]:
        return {(tuple(sorted((of[a], of[b]))), j) for (a, b), j in _told(_pairs(of, 0.8, 3)).items()}

    assert told(texts) == told(shuffled)
    monkeypatch.setattr(similarity, "CHUNK", 7)
    monkeypatch.setattr(similarity, "HELD", 1_000)  # about twenty texts
    assert told(texts) == told(shuffled)


def test_texts_of_one_template_take_time_in_proportion() -> None:
    """Ten thousand texts with the same signature: a pair of each would be fifty million."""
    texts = _texts(["the same words in each of these texts"] * 10_000)
    pairs = similarity.near_pairs(texts, 0.8, 3, 128, 7)
    assert len(pairs.left) <= 10_000 * (similarity.LEADERS + 1)
    assert not similarity.clusters(10_000, pairs, 0.8).any()


def test_pairs_stay_within_one_value_or_go_between_two() -> None:
    texts = ["one two three four"] * 4
    codes = np.array([0, 0, 1, 1])
    assert _told(_pairs(texts, within=codes)).keys() == {(0, 1), (2, 3)}
    assert _told(_pairs(texts, apart=codes == 1)).keys() == {(0, 2), (0, 3), (1, 2), (1, 3)}


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("Hello, WORLD  again", "hello world: again!", 1),
        ("ﬁne café today", "fine cafe\N{COMBINING ACUTE ACCENT} today", 1),  # the same letters, written otherwise
        ("我今天睡不着觉", "我今天睡不着觉了", 5 / 6),  # no spaces: each sign is a word
        ("short", "Short.", 1),
        ("a b", "a b c", 0),  # fewer words than a shingle: the whole text is one
        ("short", "shorter", 0),
        ("…", "!?", 0),
        ("", None, 0),
    ],
)
def test_words(one: str | None, other: str | None, expected: float) -> None:
    """Shingles of 3 words."""
    assert _told(_pairs([one, other], 0.5, 3)).get((0, 1), 0) == pytest.approx(expected)


@settings(deadline=None)
@given(st.lists(st.text(max_size=20) | st.none(), max_size=12), st.integers(1, 6))
def test_any_text_goes(texts: list[str | None], size: int) -> None:
    told = _told(_pairs([*texts, *texts], shingle=size))
    for position, text in enumerate(texts):
        words = similarity._hashed_words(pa.array([text], type=pa.string()))[0]
        assert ((position, position + len(texts)) in told) == bool(len(words))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 10)), max_size=25), st.integers(1, 10))
def test_the_scores_say_what_any_threshold_would_find(links: list[tuple[int, int, int]], tenths: int) -> None:
    chosen = {(min(a, b), max(a, b)): j / 10 for a, b, j in links if a != b}
    ends = np.array(sorted(chosen), dtype=np.int64).reshape(-1, 2)
    pairs = similarity.Pairs(ends[:, 0], ends[:, 1], np.array([chosen[a, b] for a, b in ends.tolist()]))
    firsts = similarity.clusters(10, pairs, tenths / 10)
    later = firsts != np.arange(10)
    assert ((similarity.lasting(10, pairs) >= tenths / 10 - 1e-9) == later).all()
    assert (firsts[firsts] == firsts).all()
    assert (firsts <= np.arange(10)).all()


def test_a_band_has_as_many_rows_as_the_threshold_allows() -> None:
    for threshold in (0.3, 0.5, 0.7, 0.8, 0.95):
        rows = similarity.rows_per_band(threshold, 128)
        assert (1 - threshold**rows) ** (128 // rows) <= similarity.MISSED
    assert similarity.rows_per_band(0.1, 16) == 1


@pytest.mark.parametrize("signs", ["日本々", "コーヒ", "ไทย", "ລາວ", "མཚན", "မြန", "ꩡꩢ", "ខ្មរ"])
def test_each_sign_of_a_script_without_spaces_is_a_word_to_all_that_look_for_words(signs: str) -> None:
    (found,) = similarity.shingles(_texts([signs]), 1)
    assert len(found.hashes) == len(signs)
    vectors = features.embed([signs, " ".join(signs)], TfidfFeatures(kind="tfidf", dimensions=16), 0)
    assert np.count_nonzero(vectors, axis=1).tolist() == [len(signs)] * 2
