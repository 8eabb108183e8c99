"""A tiny encoder through the whole pipeline by `dvc repro`: labels and several labels together; named entities."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import DVC, ROOT, clone, merged, run
from ruamel.yaml import YAML

from clew import io
from examples import tiny_encoder

pytestmark = pytest.mark.slow

WORDS = {"1": ["sleepless", "panic", "hurting", "afraid"], "0": ["rested", "laughing", "fine", "calm"]}
CHANGES: dict[str, Any] = {
    "clean": {"length": {"min_words": 2}, "near_duplicates": None, "language": None},
    "sft": {"epochs": 2, "max_length": 48, "precision": "float32", "eval_steps": 10, "checkpoint_steps": 10},
    "predict": {"max_length": 48, "precision": "float32"},
    "evaluate": {"resamples": 200},
    "fairness": {"resamples": 200},
}


def _posts() -> str:
    lines = []
    for number in range(240):
        label = str(number % 2)
        words = [WORDS[label][number // 2 % 4], WORDS[label][number // 8 % 4]]
        who = ["he", "she"][number // 3 % 2]
        moods = [mood for mood, every in (("anger", 2), ("joy", 3)) if number % every == 0]
        text = f"{who} was {' and '.join(words)} on day {number}"
        lines.append(json.dumps({"text": text, "label": label, "moods": moods}))
    return "\n".join(lines) + "\n"


def _sentences() -> str:
    return "\n\n".join(
        "\n".join(f"{token}\t{tag}" for token, tag in zip(row["tokens"], row["tags"], strict=True))
        for row in tiny_encoder.names(240)
    )


def _params(ready: str, folder: Path) -> dict[str, Any]:
    yaml = YAML(typ="safe")
    tree: dict[str, Any] = merged(yaml.load((ROOT / f"params/{ready}.yaml").read_text()), CHANGES)
    base = tiny_encoder.write(folder / "base")
    model = {"uri": f"file:{base}", "sha256": io.tree_sha256(base)}
    tree["fetch_model"] |= model
    source = folder / ("posts.jsonl" if ready == "encoder" else "ner.txt")
    source.write_text(_posts() if ready == "encoder" else _sentences())
    (name,) = tree["fetch_data"]["sources"]
    tree["fetch_data"]["sources"][name] |= {"uri": f"file:{source}", "sha256": io.tree_sha256(source)}
    if ready == "encoder":
        stress = tree["prepare"]["tasks"]["stress"] | {"files": "*.jsonl", "format": "jsonl"}
        own = {"kind": "labels", "labels": "moods", "values": {"anger": "anger", "joy": "joy"}, "groups": {}}
        shared = {key: stress[key] for key in ("source", "files", "format", "missing", "system", "prompt")}
        text = "mood: {{ text }}"  # the same text in two tasks would lie on one side of the split only
        tree["prepare"]["tasks"] = {"stress": stress, "moods": shared | own | {"text": text}}
        tree["split"]["limits"] = {}
        tree["split"]["leakage"] = None
        tree["clean"]["label_noise"] = None
        tree["clean"]["contradictions"] = None
    return tree


@pytest.mark.parametrize("ready", ["encoder", "ner"])
def test_a_ready_experiment_runs_with_a_tiny_encoder(tmp_path: Path, ready: str) -> None:
    (tmp_path / "sources").mkdir()
    folder = clone(tmp_path / "clone", _params(ready, tmp_path / "sources"))
    run([DVC, "repro"], folder)
    quality = json.loads((folder / "metrics/quality.json").read_text())
    assert set(quality) == {"sft", "int8"}
    tasks = {"stress": "accuracy", "moods": "micro_f1"} if ready == "encoder" else {"names": "entity_f1"}
    test = pq.read_table(folder / "data/splits/test.parquet")
    for variant, found in quality.items():
        assert set(found) == {*tasks, "model"}
        for task, metric in tasks.items():
            entry = found[task][metric]
            assert entry["n"] == test["task"].to_pylist().count(task) > 10
            assert entry["low"] <= entry["value"] <= entry["high"]
        predicted = pq.read_table(folder / f"data/predictions/{variant}.parquet")
        assert predicted["row_id"].to_pylist() == test["row_id"].to_pylist()
    if ready == "ner":
        assert predicted["predicted"][0].as_py() is not None
        assert [len(tags) for tags in predicted["tags"].to_pylist()] == [len(row) for row in test["tokens"].to_pylist()]
    else:
        assert 0 <= quality["sft"]["moods"]["exact_match"]["value"] <= 1
        audit = json.loads((folder / "metrics/fairness.json").read_text())["sft"]["stress"]["pronoun"]
        assert audit["n"]["he"] > 0 < audit["n"]["she"]
    page = (folder / "reports/report.html").read_text()
    for metric in ("entity F1",) if ready == "ner" else ("micro-F1", "exact match", "accuracy"):
        assert metric in page
    assert "Data and pipelines are up to date" in run([DVC, "repro"], folder).stdout
