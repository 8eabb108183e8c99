"""Wrong labels are found, and what happens to them follows how good the classifier is."""

from __future__ import annotations

import hashlib
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clew.cleaning import crossval, label_noise, terms
from clew.errors import DataError
from clew.params_clean import GivenFeatures, LabelNoiseRule
from examples.clean_rows import CONTEXT, row, stored


def _topics(flips: int, texts: int = 200) -> tuple[list[dict[str, Any]], set[int]]:
    """Texts of two easily told topics, the labels of `flips` of them turned round."""
    draw = random.Random(0)
    words = {"yes": ["fear", "worry", "panic", "tired"], "no": ["sunny", "picnic", "holiday", "cake"]}
    rows = []
    for number in range(texts):
        label = "yes" if number % 2 else "no"
        rows.append(row(f"{number} " + " ".join(draw.choices(words[label], k=6)), label))
    flipped = set(draw.sample(range(texts), flips))
    for position in flipped:
        rows[position]["label"] = "no" if rows[position]["label"] == "yes" else "yes"
    return rows, flipped


def _rule(min_accuracy: float, *tasks: str, threshold: float = 0.5) -> LabelNoiseRule:
    return LabelNoiseRule(tasks=tasks, folds=5, threshold=threshold, min_accuracy=min_accuracy, otherwise="downweight")


def test_flipped_labels_are_found_and_dropped_where_the_classifier_is_accurate() -> None:
    made, flipped = _topics(10)
    findings = label_noise.find(stored(made), _rule(0.9, "t"), CONTEXT)
    found = findings.by_position
    assert set(found) <= flipped
    assert len(found) >= 9
    assert {finding.action for finding in found.values()} == {"drop"}
    assert all(f.detail.startswith(f"{made[at]['label']}, probably ") for at, f in found.items() if f.detail)
    figures = findings.figures["t"]
    assert (figures["n"], figures["doubted"], figures["action"]) == (200, len(found), "drop")
    assert figures["accuracy_on_given_labels"] == 0.95  # of 200 labels 10 are wrong
    assert figures["noise"] == pytest.approx(0.05, abs=0.03)
    assert figures["why"] == f"accuracy {figures['accuracy']:.3f} is at least 0.9"


def test_a_lower_threshold_doubts_fewer_and_the_scores_tell_which() -> None:
    made, _ = _topics(10)
    wide, narrow = (label_noise.find(stored(made), _rule(0.9, "t", threshold=t), CONTEXT) for t in (0.5, 0.03))
    assert 0 < len(narrow.by_position) < len(wide.by_position)
    assert wide.scores is not None
    assert set(np.flatnonzero(wide.scores < np.float32(0.03))) == set(narrow.by_position)


def test_where_doubts_are_mostly_right_a_second_round_doubts_no_fewer_wrong_labels_and_fewer_right_ones() -> None:
    draw = random.Random(0)
    rows = [
        row(" ".join(f"{kind}{draw.randrange(150)}" for kind in (label, label, label, "any", "any", "any")), label)
        for label in ("yes", "no") * 500
    ]
    flipped = set(draw.sample(range(1000), 200))
    for position in flipped:
        rows[position]["label"] = "no" if rows[position]["label"] == "yes" else "yes"
    first, second = (label_noise.find(stored(rows), _rule(least, "t"), CONTEXT) for least in (1.0, 0.85))
    assert second.figures["t"]["action"] == "drop"
    assert first.figures["t"]["accuracy"] == second.figures["t"]["accuracy"]
    assert len(flipped & set(second.by_position)) >= len(flipped & set(first.by_position)) > 150
    assert len(set(second.by_position) - flipped) < len(set(first.by_position) - flipped)


def test_accuracy_is_judged_against_right_labels_although_a_fourth_of_the_given_ones_is_wrong() -> None:
    findings = label_noise.find(stored(_topics(250, 1000)[0]), _rule(0.9, "t"), CONTEXT)
    assert findings.figures["t"]["accuracy_on_given_labels"] < 0.8
    assert {f.action for f in findings.by_position.values()} == {"drop"}


def test_they_weigh_less_where_the_classifier_is_not_accurate() -> None:
    draw = random.Random(0)
    labels = ["yes", "no"] * 200
    lean = {"yes": [3, 2], "no": [2, 3]}  # how often the words of either topic come
    made = [
        row(" ".join(draw.choices(["fear", "cake"], lean[label], k=6)) + f" {i}", label)
        for i, label in enumerate(labels)
    ]
    findings = label_noise.find(stored(made), _rule(0.9, "t"), CONTEXT)
    assert findings.figures["t"]["accuracy"] < 0.8
    assert {f.action for f in findings.by_position.values()} == {"downweight"}


@settings(deadline=None)  # the first example imports
@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from([None, "a", "b"])), min_size=1, max_size=60),
    st.integers(2, 5),
    st.integers(0, 3),
)
def test_folds_are_even_by_class_and_keep_clusters_whole(
    rows: list[tuple[int, str | None]], number: int, seed: int
) -> None:
    codes, clusters = np.array([code for code, _ in rows]), [cluster for _, cluster in rows]
    fold = crossval.folds(codes, clusters, number, seed)
    for name in {"a", "b"} & set(clusters):
        assert len({int(f) for f, cluster in zip(fold, clusters, strict=True) if cluster == name}) == 1
    alone = np.array([cluster is None for cluster in clusters])
    if alone.all():
        for some in [fold, *(fold[codes == code] for code in np.unique(codes))]:
            counts = np.bincount(some, minlength=number)
            assert counts.max() - counts.min() <= 1


def test_near_duplicates_do_not_vouch_for_each_other() -> None:
    draw = random.Random(0)
    words = [f"w{number}" for number in range(3000)]
    made = []
    for number in range(60):  # nothing but its copy tells a text's label
        text, label = " ".join(draw.sample(words, 8)), draw.choice(["yes", "no"])
        made += [row(text + end, label, cluster=str(number)) for end in ("", " a", " b", " c")]
    apart = label_noise.find(stored(made), _rule(0.9, "t"), CONTEXT).figures["t"]["accuracy_on_given_labels"]
    together = label_noise.find(stored([one | {"cluster": None} for one in made]), _rule(0.9, "t"), CONTEXT)
    assert apart < 0.7 < 0.85 < together.figures["t"]["accuracy_on_given_labels"]


def test_a_class_of_one_cluster_is_told_as_too_rare() -> None:
    made = [*_topics(0)[0], *(row(f"x{number}", "maybe", cluster="c") for number in range(9))]
    with pytest.raises(DataError, match=r"label `maybe` has 1 rows \(near duplicates as one\)"):
        label_noise.find(stored(made), _rule(0.9, "t"), CONTEXT)


def test_embeddings_are_used_where_they_are_the_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made, flipped = _topics(10)
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(200, 4)).astype(np.float32)
    vectors[:, 0] += [8 if at % 2 else -8 for at in range(200)]
    digests = [hashlib.sha256(one["text"].encode()).hexdigest() for one in made]
    (tmp_path / "data/raw/vectors").mkdir(parents=True)
    pq.write_table(
        pa.table({"text_sha256": digests, "embedding": vectors.tolist()}), tmp_path / "data/raw/vectors/v.parquet"
    )
    features = GivenFeatures(kind="given", source="vectors", file="v.parquet")
    findings = label_noise.find(stored(made), _rule(0.9, "t"), CONTEXT._replace(features=features))
    assert set(findings.by_position) == flipped


def test_of_more_rows_than_are_learnt_from_rare_classes_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossval, "LEARNT", 300)
    monkeypatch.setattr(crossval, "LEAST", 20)
    codes = np.repeat([0, 1, 2], [5000, 500, 10])
    learnt = crossval._learnt(np.arange(len(codes)), codes, 0)
    assert np.bincount(codes[learnt]).tolist() == [90, 20, 10]
    made, flipped = _topics(10)
    found = label_noise.find(stored(made), _rule(0.9, "t"), CONTEXT).by_position
    assert set(found) <= flipped


@settings(deadline=None)  # the first example imports
@given(st.lists(st.one_of(st.none(), st.text(max_size=20)), min_size=4, max_size=12))
def test_any_text_has_terms_or_is_told_to_have_none(texts: list[str | None]) -> None:
    made = [row(text, label) for text, label in zip(texts, ["yes", "no"] * 6, strict=False)]
    with suppress(DataError):
        label_noise.find(stored(made), _rule(0.9, "t").model_copy(update={"folds": 2}), CONTEXT)


def test_the_most_frequent_terms_are_kept() -> None:
    texts = ["a b", "a b", "a b c", "a c", "d"]
    assert terms.tfidf(texts, 100).shape == (5, 4)  # a, b, c and a-b; c alone is in two, d in one
    assert terms.tfidf(texts, 1).shape == (5, 1)


def test_a_classifier_that_knows_nothing_doubts_nothing_however_often_it_is_right() -> None:
    draw = random.Random(0)
    words = [f"w{number}" for number in range(50)]
    made = [row(" ".join(draw.choices(words, k=8)), "yes" if number % 20 else "no") for number in range(400)]
    findings = label_noise.find(stored(made), _rule(0.9, "t"), CONTEXT)
    assert not findings.by_position
    figures = findings.figures["t"]
    assert figures["accuracy_on_given_labels"] == 0.95
    assert (figures["accuracy"], figures["noise"], figures["action"]) == (None, None, None)
    assert figures["why"] == "nothing is doubted: 0.950 is no better than always the same answer, 0.950"


def test_clean_labels_are_left_alone() -> None:
    assert not label_noise.find(stored(_topics(0)[0]), _rule(0.9, "t"), CONTEXT).by_position


def test_other_seeds_make_other_folds() -> None:
    made, _ = _topics(10)
    scores = [
        [
            f.score
            for f in label_noise.find(stored(made), _rule(0.9, "t"), CONTEXT._replace(seed=seed)).by_position.values()
        ]
        for seed in (0, 0, 1)
    ]
    assert scores[0] == scores[1] != scores[2]


def test_texts_without_spaces_and_of_unique_words_are_told_apart_by_their_characters() -> None:
    draw = random.Random(0)
    chinese = {"yes": "害怕担心恐慌疲倦", "no": "晴天野餐假日蛋糕"}
    made = [(label, "我觉得，" + "".join(draw.choices(chinese[label], k=9))) for label in ["yes", "no"] * 30]
    unique = [
        (label, letter * 3 + str(number)) for number in range(10) for label, letter in (("yes", "a"), ("no", "b"))
    ]
    for texts in (made, unique):
        made = [row(text, label) for label, text in texts]
        assert label_noise.find(stored(made), _rule(0.9, "t"), CONTEXT).figures["t"]["accuracy"] > 0.9
    with pytest.raises(DataError, match="the texts hold no characters to learn from"):
        label_noise.find(stored([row("", label) for label in ["yes", "no"] * 10]), _rule(0.9, "t"), CONTEXT)


def test_no_rows_left_for_a_task_is_told_as_such() -> None:
    with pytest.raises(DataError, match="the rules before it left no row of the task"):
        label_noise.find(stored([row("a", task="other")]), _rule(0.9, "t"), CONTEXT)


def test_one_class_only_and_too_few_rows_are_told() -> None:
    with pytest.raises(DataError, match=r"clean.label_noise.tasks: t: two classes are needed.*\(yes\)"):
        label_noise.find(stored([row("a"), row("b")]), _rule(0.9, "t"), CONTEXT)
    made, _ = _topics(0)
    with pytest.raises(DataError, match=r"label `maybe` has 1 rows .*, fewer than clean.label_noise.folds = 5"):
        label_noise.find(stored([*made, row("x", "maybe")]), _rule(0.9, "t"), CONTEXT)
