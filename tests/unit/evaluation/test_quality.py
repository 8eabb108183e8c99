import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clew import io
from clew.evaluation import quality
from examples import help_desk

VARIANTS = ("base", "sft")


def measure(found: dict[str, list[Any]], seed: int = 1) -> quality.Quality:
    return quality.measure(found, resamples=200, confidence=0.95, seed=seed)


def made(variants: tuple[str, ...] = VARIANTS, sizes: dict[str, int] | None = None) -> dict[str, list[Any]]:
    return {variant: help_desk.predictions(variant, sizes) for variant in variants}


def test_every_variant_has_every_task_with_its_metrics_in_one_form() -> None:
    found = measure(made())
    assert list(found) == list(VARIANTS)
    for tasks in found.values():
        assert {task: set(entries) for task, entries in tasks.items()} == {
            "stress": {"accuracy", "f1", "auc", "log_loss", "perplexity"},
            "exam": {"accuracy", "f1", "log_loss", "perplexity"},
            "vignettes": {"accuracy", "f1", "log_loss", "perplexity"},
            "dialogues": {"bleu", "chrf", "perplexity"},
        }
        for task, entries in tasks.items():
            for entry in entries.values():
                assert entry["low"] <= entry["value"] <= entry["high"]
                assert entry["n"] == help_desk.SIZES[task]
    assert "signature" in found["sft"]["dialogues"]["bleu"]


def test_training_that_helps_is_told_from_noise() -> None:
    found = measure(made(("base", "sft", "aligned", "int8")))
    better = found["sft"]["stress"]["accuracy"]["vs_parent"]
    assert better["parent"] == "base"
    assert better["low"] > 0
    assert better["p"] < 0.05
    same = found["int8"]["stress"]["accuracy"]["vs_parent"]
    assert same["parent"] == "aligned"
    assert same["low"] <= 0 <= same["high"]
    assert same["p"] > 0.05
    assert "vs_parent" not in found["base"]["stress"]["accuracy"]


@pytest.mark.parametrize(
    ("variant", "present", "expected"),
    [
        ("base", ["base", "sft", "aligned", "int8"], None),
        ("sft", ["base", "sft", "aligned", "int8"], "base"),
        ("aligned", ["base", "sft", "aligned", "int8"], "sft"),
        ("int8", ["int8", "aligned", "sft", "base"], "aligned"),
        ("int8", ["base", "int8"], "base"),
        ("aligned", ["aligned", "int8"], None),
    ],
)
def test_the_parent_is_what_a_variant_was_made_from(variant: str, present: list[str], expected: str | None) -> None:
    assert quality.parent(variant, present) == expected


@given(st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=5)
def test_the_order_of_rows_changes_no_value(shuffler: random.Random) -> None:
    rows = made(sizes={"stress": 40, "dialogues": 8})
    order = list(range(48))
    shuffler.shuffle(order)
    turned = {variant: [found[index] for index in order] for variant, found in rows.items()}
    first, second = measure(rows), measure(turned)
    for variant in VARIANTS:
        for task, entries in first[variant].items():
            for name, entry in entries.items():
                assert second[variant][task][name]["value"] == pytest.approx(entry["value"])


def test_the_same_seed_gives_the_same_numbers_and_another_task_does_not_change_them() -> None:
    alone = measure(made(sizes={"stress": 60}))
    again = measure(made(sizes={"stress": 60}))
    beside = measure(made(sizes={"exam": 50, "stress": 60}))
    other = measure(made(sizes={"stress": 60}), seed=2)
    assert alone["sft"]["stress"] == again["sft"]["stress"] == beside["sft"]["stress"]
    assert alone["sft"]["stress"] != other["sft"]["stress"]


CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "logprob": st.sampled_from([None, math.nan, math.inf, -math.inf, -1e6, 0.0]),
        "tokens": st.sampled_from([0, 1]),
        "scores": st.lists(st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -1e308]), min_size=2, max_size=2),
        "prediction": st.sampled_from([None, "", "yes", "no", "else"]),
        "label": st.sampled_from(["yes", "no"]),
    },
)


@given(st.lists(CHANGES, min_size=1, max_size=6))
@settings(deadline=None, max_examples=60)
def test_whatever_comes_in_no_nan_reaches_json(changes: list[dict[str, Any]]) -> None:
    base = help_desk.predictions("base", {"stress": len(changes)})
    worse = [row | change for row, change in zip(base, changes, strict=True)]
    found = measure({"base": base, "sft": worse})
    json.dumps(found, allow_nan=False)
    for entry in found["sft"]["stress"].values():
        assert entry["value"] is not None or entry["reason"]


def test_a_number_that_cannot_be_had_has_no_difference_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = made(sizes={"stress": 20})
    rows["base"][3] = rows["base"][3] | {"logprob": -1e9}
    found = measure(rows)
    assert found["base"]["stress"]["perplexity"] == {
        "value": None,
        "reason": "it is not a finite number",
        "n": 20,
    }
    assert "vs_parent" not in found["sft"]["stress"]["perplexity"]
    assert "vs_parent" in found["sft"]["stress"]["accuracy"]
    io.write_json(Path("quality.json"), found)
    assert [line for line in quality.table(found) if line[:3] == ["base", "stress", "perplexity"]] == []


def test_the_tables_of_the_plots_hold_what_the_metrics_hold() -> None:
    rows = made(sizes={"stress": 20, "dialogues": 4})
    lines = list(quality.confusion(rows))
    assert len(lines) == 2 * 20
    right = np.mean([actual == predicted for variant, _, actual, predicted in lines if variant == "sft"])
    found = measure(rows)
    assert found["sft"]["stress"]["accuracy"]["value"] == right
    table = {tuple(line[:3]): line[3:] for line in quality.table(found)}
    entry = found["sft"]["stress"]["accuracy"]
    assert table["sft", "stress", "accuracy"] == [entry[key] for key in ("value", "low", "high", "n")]
