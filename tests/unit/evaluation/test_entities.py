"""Entities counted as seqeval counts them; a hand-computed example; intervals over rows."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import classification_report

from clew.evaluation import entities, intervals, metrics, quality

Row = dict[str, Any]

BY_HAND = [  # 5 real entities (3 PER, 2 LOC), 4 predicted (2 PER, 2 LOC), 2 hits (1 PER, 1 LOC)
    {"tags": ["B-PER", "I-PER", "O", "B-LOC"], "predicted": ["B-PER", "I-PER", "O", "B-LOC"]},
    {"tags": ["B-PER", "I-PER", "O", "O"], "predicted": ["B-PER", "O", "O", "B-LOC"]},
    {"tags": ["B-PER", "B-LOC"], "predicted": ["O", "O"]},
    {"tags": ["O"], "predicted": ["O"]},
]


def values(rows: list[Row]) -> dict[str, float]:
    found = {}
    for name, maker in metrics.table("names", rows).items():
        metric = maker(rows)
        assert not isinstance(metric, str), metric
        found[name] = intervals.point(metric, len(rows))
    return found


def test_the_scores_are_those_computed_by_hand() -> None:
    assert values(BY_HAND) == pytest.approx(
        {
            "entity_f1": 4 / 9,
            "entity_precision": 2 / 4,
            "entity_recall": 2 / 5,
            "entity_f1_PER": 2 / 5,
            "entity_precision_PER": 1 / 2,
            "entity_recall_PER": 1 / 3,
            "entity_f1_LOC": 2 / 4,
            "entity_precision_LOC": 1 / 2,
            "entity_recall_LOC": 1 / 2,
        }
    )


TAGS = st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "S-LOC", "E-PER"])
SENTENCES = st.lists(st.lists(st.tuples(TAGS, TAGS), min_size=1, max_size=6), min_size=1, max_size=6)


@given(SENTENCES)
@settings(deadline=None, max_examples=100)
def test_the_scores_are_those_of_seqevals_report(sentences: list[list[tuple[str, str]]]) -> None:
    rows = [{"tags": [a for a, _ in one], "predicted": [p for _, p in one]} for one in sentences]
    kinds = entities.types(rows)
    if not kinds:
        assert metrics.table("names", rows)["entity_f1"](rows) == "no row has an entity"
        return
    tags, predicted = ([row[side] for row in rows] for side in ("tags", "predicted"))
    report = classification_report(tags, predicted, output_dict=True, zero_division=0)
    found = values(rows)
    for ending, wanted in [("", report["micro avg"]), *((f"_{kind}", report[kind]) for kind in kinds)]:
        for name, theirs in (("f1", "f1-score"), ("precision", "precision"), ("recall", "recall")):
            assert found[f"entity_{name}{ending}"] == pytest.approx(wanted[theirs])


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        (["B-PER", "I-PER", "L-PER", "O", "U-LOC"], {("PER", 0, 2), ("LOC", 4, 4)}),  # BILOU
        (["PER", "PER", "O", "geo-loc"], {("PER", 0, 1), ("geo-loc", 3, 3)}),  # bare types
        (["B-geo-loc", "B-geo-loc", ""], {("geo-loc", 0, 0), ("geo-loc", 1, 1)}),
    ],
)
def test_every_scheme_of_tags_is_read(tags: list[str], found: set[tuple[str, int, int]]) -> None:
    assert entities.spans(tags) == found


def test_every_score_has_an_interval_over_rows_its_parent_and_how_it_was_counted() -> None:
    rows = [row | {"row_id": f"{n:02}", "task": "names", "label": None} for n, row in enumerate(BY_HAND * 10)]
    better = [row | {"predicted": row["tags"]} for row in rows]
    found = quality.measure({"sft": rows, "int8": better}, resamples=200, confidence=0.95, seed=1)
    f1 = found["sft"]["names"]["entity_f1"]
    assert f1["value"] == pytest.approx(4 / 9)
    assert f1["low"] < f1["value"] < f1["high"]
    assert (f1["n"], f1["signature"]) == (40, "seqeval 1.2.2, default mode")
    gained = found["int8"]["names"]["entity_f1_PER"]["vs_parent"]
    assert gained["parent"] == "sft"
    assert gained["difference"] == pytest.approx(0.6)
