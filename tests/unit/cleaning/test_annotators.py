"""Several annotators' labels become one, in which good annotators count for more."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clew.cleaning import annotators, chain
from clew.errors import DataError
from clew.params_clean import AnnotatorsRule
from examples.clean_rows import CONTEXT, row, stored
from examples.experiment import declared

RULE = AnnotatorsRule(tasks=("t",), folds=3, threshold=0.4, otherwise="review")
WORDS = {"yes": ["fear", "worry", "panic", "tired"], "no": ["sunny", "picnic", "holiday", "cake"]}
OTHER = {"yes": "no", "no": "yes"}


def _annotated(wrong: dict[str, float], seed: int = 0) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows that annotators labelled, each wrong with its own probability, and the right labels."""
    draw = random.Random(seed)
    rows, right = [], ["yes", "no"] * 100
    for number, label in enumerate(right):
        said = {name: OTHER[label] if draw.random() < share else label for name, share in wrong.items()}
        votes = list(said.values())
        given = max(["yes", "no"], key=votes.count)
        annotations = [{"annotator": name, "label": one} for name, one in said.items()]
        text = f"{number} " + " ".join(draw.choices(WORDS[label], k=4))
        rows.append(row(text, given, annotations=annotations, rejected=OTHER[given]))
    return rows, right


def test_two_who_guess_do_not_outvote_one_who_knows() -> None:
    made, right = _annotated({"ada": 0.02, "bo": 0.45, "cy": 0.45})
    findings = annotators.find(stored(made), RULE, CONTEXT)
    labels = [one["label"] for one in made]
    by_majority = np.mean([a == b for a, b in zip(labels, right, strict=True)])
    for position, finding in findings.by_position.items():
        if finding.action == "fix":
            old, new = labels[position], OTHER[labels[position]]
            assert finding.changes == {"label": new, "completion": new, "rejected": old}
            labels[position] = new
    assert np.mean([a == b for a, b in zip(labels, right, strict=True)]) > by_majority + 0.1
    people = findings.figures["t"]["annotators"]
    assert people["ada"]["quality"] > max(people["bo"]["quality"], people["cy"]["quality"]) + 0.1
    assert people["ada"]["agreement"] > 0.9
    assert [people[name]["n"] for name in ("ada", "bo", "cy")] == [200, 200, 200]
    assert findings.figures["t"]["mended"] == sum(f.action == "fix" for f in findings.by_position.values())


def test_a_doubtful_consensus_meets_its_fate_and_the_scores_tell_which_one_is() -> None:
    made, _ = _annotated({"ada": 0.3, "bo": 0.3})
    findings = annotators.find(stored(made), RULE.model_copy(update={"threshold": 0.7}), CONTEXT)
    doubtful = {at for at, finding in findings.by_position.items() if finding.action == "review"}
    assert findings.scores is not None
    assert doubtful == set(np.flatnonzero(findings.scores < np.float32(0.7)))
    assert 0 < len(doubtful) == findings.figures["t"]["doubtful"]


def test_rows_without_annotations_and_other_tasks_are_left_alone() -> None:
    made, _ = _annotated({"ada": 0.1, "bo": 0.1})
    more = [row("nobody", annotations=None), row("nobody either", annotations=[]), made[0] | {"task": "u"}]
    findings = annotators.find(stored([*more, *made]), RULE, CONTEXT)
    assert findings.scores is not None
    assert np.isnan(findings.scores[:3]).all()
    assert findings.figures["t"]["n"] == 200


def test_the_chain_gives_the_row_its_new_label(tmp_path: Path) -> None:
    made, _ = _annotated({"ada": 0.0, "bo": 0.45, "cy": 0.45})
    clean = declared().clean
    rules = dict.fromkeys(_rules(clean)) | {"annotators": RULE}
    outcome = chain.apply(stored(made, tmp_path), clean.model_copy(update=rules), 0, {})
    changed = [at for at, some in outcome.found.items() if some[0].finding.action == "fix"]
    assert changed
    for name in ("label", "completion"):
        values = list(outcome.rows.values(name))
        assert [values[at] for at in changed] == [OTHER[made[at]["label"]] for at in changed]


def _rules(clean: Any) -> list[str]:
    """The names of all rules."""
    return [name for name in type(clean).model_fields if name not in ("objective", "features", "downweight")]


def test_what_cannot_be_weighed_is_told() -> None:
    one = [row("a", annotations=[{"annotator": "ada", "label": "yes"}])]
    for made, said in [([row("a")], "no row has annotations"), (one, "no row has the labels of two annotators")]:
        with pytest.raises(DataError, match=f"clean.annotators.tasks: t: {said}"):
            annotators.find(stored(made), RULE, CONTEXT)
    two = [row("a", annotations=[{"annotator": name, "label": "yes"} for name in ("ada", "bo")])] * 9
    with pytest.raises(DataError, match="two classes are needed"):
        annotators.find(stored(two), RULE, CONTEXT)


def test_alpha_is_that_of_the_published_example() -> None:
    """Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C: nominal data, .743."""
    observers = ["1233 2141 2...", "1233 2241 25.3", ".333 2342 251.", "1233 2441 251."]
    labels = np.array([[np.nan if c == "." else float(c) for c in one.replace(" ", "")] for one in observers]).T
    assert annotators.alpha(labels) == pytest.approx(0.743, abs=0.0005)
    assert annotators.alpha(np.array([[1.0, 1.0], [2.0, 2.0]])) == 1
    assert annotators.alpha(np.array([[1.0, 1.0], [1.0, np.nan]])) is None


LABELS = st.sampled_from(["yes", "no", "maybe"])


@settings(deadline=None)  # the first example imports
@given(
    st.lists(
        st.tuples(st.text(max_size=9), LABELS, st.none() | st.dictionaries(st.sampled_from("abc"), LABELS)),
        max_size=20,
    )
)
def test_whatever_annotators_say_is_weighed_or_told_not_to_be(
    some: list[tuple[str, str, dict[str, str] | None]],
) -> None:
    made = [
        row(
            text,
            label,
            annotations=None
            if said is None
            else [{"annotator": name, "label": one} for name, one in sorted(said.items())],
        )
        for text, label, said in some
    ]
    with suppress(DataError):
        findings = annotators.find(stored(made), RULE.model_copy(update={"folds": 2}), CONTEXT)
        assert all(0 <= finding.score <= 1 for finding in findings.by_position.values() if finding.score is not None)
