from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clew import params
from clew.errors import DataError
from clew.fairness import reweighing
from examples import help_desk

AUDIT = params.Audit(task="stress", attribute="pronoun", privileged="he", unprivileged="she", favorable="yes")
WHERE = "params.yaml: balance.audits[0]"
CELLS = [("he", "yes"), ("he", "no"), ("she", "yes"), ("she", "no")]
COUNT = st.integers(0, 12)
WEIGHT = st.sampled_from([0.0, 0.5, 1.0, 2.0])

Rows = list[dict[str, Any]]


def table(counts: list[int], neither: int = 0) -> Rows:
    """Training rows, so many of each of CELLS and so many of no group."""
    kinds = [kind for kind, n in zip(CELLS, counts, strict=True) for _ in range(n)]
    rows = [help_desk.train_row("stress", i, label, {"pronoun": group}) for i, (group, label) in enumerate(kinds)]
    return rows + [help_desk.train_row("stress", 900 + i, "yes", {}) for i in range(neither)]


def kamiran_calders(counts: list[int]) -> dict[tuple[str, str], float]:
    """P(group) P(label) / P(group, label), by hand."""
    n = dict(zip(CELLS, counts, strict=True))
    total = sum(counts)
    by_group = {group: sum(n[cell] for cell in CELLS if cell[0] == group) for group in ("he", "she")}
    by_label = {label: sum(n[cell] for cell in CELLS if cell[1] == label) for label in ("yes", "no")}
    return {
        cell: (by_group[cell[0]] / total) * (by_label[cell[1]] / total) / (n[cell] / total) for cell in CELLS if n[cell]
    }


@given(st.lists(st.integers(1, 12), min_size=4, max_size=4), st.integers(0, 3))
@settings(deadline=None, max_examples=40)
def test_weights_are_those_of_kamiran_and_calders_and_make_the_labels_fair(counts: list[int], neither: int) -> None:
    rows = table(counts, neither)
    ours = reweighing.audited(AUDIT, rows, where=WHERE)
    weights = np.ones(len(rows))
    after = reweighing.reweigh(ours, weights)
    expected = kamiran_calders(counts)
    for row, weight in zip(rows, after, strict=True):
        cell = (row["groups"].get("pronoun"), row["label"])
        assert weight == pytest.approx(expected.get(cell, 1.0))
    assert after.sum() == pytest.approx(weights.sum())
    found = reweighing.bias(ours, after)
    assert found["mean_difference"]["value"] == pytest.approx(0, abs=1e-9)
    assert found["disparate_impact"]["value"] == pytest.approx(1)
    assert reweighing.sizes(ours)["neither"] == neither


@given(
    st.lists(COUNT, min_size=4, max_size=4), st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=48, max_size=48)
)
@settings(deadline=None, max_examples=60)
def test_weights_stay_finite_and_none_is_invented(counts: list[int], old: list[float]) -> None:
    """Any weights, and (group, label) pairs with no rows or no weight."""
    rows = table(counts)
    weights = np.array(old[: len(rows)])
    if sum(counts[:2]) and sum(counts[2:]) and counts[0] + counts[2] and counts[1] + counts[3]:
        ours = reweighing.audited(AUDIT, rows, where=WHERE)
        after = reweighing.reweigh(ours, weights)
        assert np.isfinite(after).all()
        assert (after >= 0).all()
        assert ((after == 0) == (weights == 0)).all()
        for entry in reweighing.bias(ours, after).values():
            assert "nan" not in str(entry)


@pytest.mark.parametrize(
    ("counts", "published"),
    [
        # German credit, train split of AIF360's tutorial on credit scoring; privileged is an age of 25 and over.
        ([427, 160, 63, 50], -0.169905),
        # Adult, all 45,222 complete rows; privileged is male, favourable is over 50,000 a year.
        ([9539, 20988, 1669, 13026], -0.198901),
    ],
)
def test_published_tables_give_their_published_values(counts: list[int], published: float) -> None:
    rows = [row for row, n in zip(table([1, 1, 1, 1]), counts, strict=True) for _ in range(n)]
    ours = reweighing.audited(AUDIT, rows, where=WHERE)
    before = np.ones(len(rows))
    assert reweighing.bias(ours, before)["mean_difference"]["value"] == pytest.approx(published, abs=1e-6)
    after = reweighing.bias(ours, reweighing.reweigh(ours, before))
    assert after["mean_difference"]["value"] == pytest.approx(0, abs=1e-9)


def test_measures_and_sizes_by_hand() -> None:
    rows = table([3, 1, 1, 3], neither=2)
    ours = reweighing.audited(AUDIT, rows, where=WHERE)
    found = reweighing.bias(ours, np.ones(len(rows)))
    assert found["mean_difference"] == {"value": -0.5}
    assert found["disparate_impact"] == {"value": pytest.approx(1 / 3)}
    assert found["base_rate"] == {"he": {"value": 0.75}, "she": {"value": 0.25}}
    assert reweighing.sizes(ours) == {"he": {"no": 1, "yes": 3}, "she": {"no": 3, "yes": 1}, "neither": 2}
    after = reweighing.bias(ours, reweighing.reweigh(ours, np.ones(len(rows))))
    assert after["mean_weight"]["she"] == {"no": {"value": pytest.approx(2 / 3)}, "yes": {"value": 2.0}}


def test_a_ratio_to_nothing_is_null_with_a_reason() -> None:
    found = reweighing.bias(reweighing.audited(AUDIT, table([0, 2, 1, 1]), where=WHERE), np.ones(4))
    assert found["disparate_impact"]["value"] is None
    assert found["disparate_impact"]["reason"]
    assert found["mean_difference"] == {"value": 0.5}
    assert list(found["mean_weight"]["he"]) == ["no"]


@pytest.mark.parametrize(("counts", "words"), [([4, 0, 3, 0], "all of 7"), ([0, 4, 0, 3], "none of 7")])
def test_labels_of_one_class_are_refused(counts: list[int], words: str) -> None:
    with pytest.raises(DataError) as error:
        reweighing.audited(AUDIT, table(counts), where=WHERE)
    assert str(error.value) == (
        f"{WHERE}: the labels of task stress are of one class only: {words} are `yes`. "
        "Take more rows of it in split.limits, or leave this audit out."
    )


def test_correct_has_no_meaning_for_labels() -> None:
    asked = AUDIT.model_copy(update={"favorable": "correct"})
    with pytest.raises(DataError, match=r"`correct` is about predictions: every training label is right. Name a label"):
        reweighing.audited(asked, table([1, 1, 1, 1]), where=WHERE)
