"""Params and metrics as flat names, as DVC's own diff has them."""

from __future__ import annotations

import pytest

from clew.history import documents


def test_params_are_dotted_and_a_list_is_one_value() -> None:
    text = "seed: 13\nsft:\n  lora: {rank: 8, modules: [q, k]}\n  none:\n"
    assert documents.params(text) == {
        "seed": 13,
        "sft.lora.rank": 8,
        "sft.lora.modules": ["q", "k"],
        "sft.none": None,
    }


def test_metrics_are_numbers_and_texts() -> None:
    text = '{"a": {"f1": 0.5, "low": null, "list": [1]}, "word": "x", "yes": true}'
    assert documents.metrics("m.json", text) == {"a.f1": 0.5, "word": "x", "yes": True}
    assert documents.metrics("m.yaml", "a:\n  f1: 0.5\n") == {"a.f1": 0.5}
    assert documents.metrics("m.json", "0.5") == {"": 0.5}
    assert documents.metrics("m.json", "[1]") == {}


def test_what_cannot_be_read_says_why() -> None:
    with pytest.raises(documents.Unreadable, match="not JSON"):
        documents.metrics("m.json", "{")
    with pytest.raises(documents.Unreadable, match="not YAML"):
        documents.params("a: [")
    with pytest.raises(documents.Unreadable, match="not a mapping"):
        documents.params("- a\n")


def test_metric_files_are_those_that_the_pipeline_declares() -> None:
    pipeline = """
stages:
  train: {cmd: x, metrics: [m/train.json, {m/loss.json: {cache: false}}]}
  predict:
    foreach: ${variants}
    do: {cmd: "x ${item}", metrics: ["m/${item}.json"]}
  fixed:
    foreach: {a: {n: 1}, b: {n: 2}}
    do: {cmd: x, metrics: ["m/${key}-${item.n}.json"]}
  grid:
    matrix: {size: [s, l], kind: "${variants}"}
    cmd: x
    metrics: ["m/${item.size}${item.kind}.json"]
metrics: [m/top.json, m/train.json]
"""
    found = documents.metric_paths(pipeline, {"variants": ["p", "q"]})
    assert found == [
        *("m/top.json", "m/train.json", "m/loss.json", "m/p.json", "m/q.json", "m/a-1.json", "m/b-2.json"),
        *("m/sp.json", "m/sq.json", "m/lp.json", "m/lq.json"),
    ]
