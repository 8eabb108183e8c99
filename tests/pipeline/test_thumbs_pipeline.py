"""Thumbs up and down, a JSONL of single answers, through the whole pipeline by `dvc repro`."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import DVC, GIT, clone, merged, run, tiny_params

from clew import io
from examples import tiny_model

pytestmark = pytest.mark.slow

CLEW = str(Path(sys.executable).parent / "clew")
TOPICS = ("sleep", "coughs", "a sore knee", "burns", "warts", "colds", "fever", "hay fever", "cramps", "hiccups")
CAUSES = ("work", "travel", "age", "noise", "dust", "worry")
TASK: dict[str, Any] = {
    "kind": "text",
    "source": "feedback",
    "files": "*.jsonl",
    "format": "jsonl",
    "missing": {},
    "system": None,
    "prompt": "{{ prompt }}",
    "text": "{{ prompt }}",
    "groups": {},
    "completion": "{{ answer }}",
    "rejected": None,
    "wanted": {"thumb": "{{ thumb }}", "values": {"up": True, "down": False}},
}
CHANGES: dict[str, Any] = {
    "clean": {"label_noise": None, "language": None, "length": {"min_words": 3}},
    "split": {"contamination": None, "leakage": {"max_share": 0.0}},
    "select": {"keep": {"advice": 60}, "score": None, "diversity": None},
    "augment": {"enabled": False},
    "sft": {"precision": "float32", "max_length": 160},
    "reward": {"enabled": False, "tasks": []},
    "align": {
        "enabled": True,
        "algorithm": "kto",
        "tasks": ["advice"],
        "rows": 60,
        "held_out": None,
        "dpo": None,
        "kto": {"beta": 0.1, "wanted_weight": 1.0, "unwanted_weight": 1.0, "row_weights": True},
        "precision": "float32",
        "max_length": 160,
    },
    "compress": {"methods": []},
    "predict": {"variants": ["sft", "aligned"], "precision": "float32", "max_length": 160, "max_new_tokens": 4},
}
MAIL = "Write to ann@example.org about it."


def _records() -> list[dict[str, str]]:
    """Two answers to each prompt, which share their words with no other; two prompts with an address in an answer."""
    some = [
        {"prompt": f"What helps against {topic} that come from {cause}", "answer": answer, "thumb": thumb}
        for topic in TOPICS
        for cause in CAUSES
        for answer, thumb in ((f"Rest, and less {cause}.", "up"), (f"Pray against {topic}.", "down"))
    ]
    return [*some, {**some[0], "answer": MAIL, "thumb": "down"}, {**some[1], "thumb": "down"}]


def _experiment(tmp_path: Path) -> Path:
    source, base = tmp_path / "feedback.jsonl", tiny_model.write(tmp_path / "base")
    source.write_text("".join(json.dumps(record) + "\n" for record in _records()))
    tree = merged(tiny_params(), CHANGES)
    tree["fetch_model"] |= {"uri": f"file:{base}", "sha256": io.tree_sha256(base), "random_init": None}
    feedback = {"uri": f"file:{source}", "sha256": io.tree_sha256(source), "license": "CC0-1.0"}
    tree["fetch_data"]["sources"] = {"feedback": feedback}
    tree["prepare"]["tasks"] = {"advice": TASK}
    tree["split"]["limits"], tree["select"]["keep"], tree["augment"]["tasks"] = {}, {"advice": 60}, {}
    tree["balance"]["audits"] = tree["fairness"]["audits"] = []
    return clone(tmp_path / "clone", tree)


def test_thumbs_go_from_a_jsonl_to_a_model_and_its_report(tmp_path: Path) -> None:
    folder = _experiment(tmp_path)
    run([CLEW, "params", "check"], folder)
    run([DVC, "repro"], folder)

    def read(path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = pq.read_table(folder / path).to_pylist()
        return found

    made = read("data/rows.parquet")
    assert Counter(row["completion"] is None for row in made) == {True: 62, False: 60}
    test, train = read("data/splits/test.parquet"), read("data/train.parquet")
    unwanted = {row["row_id"] for row in train if row["completion"] is None}
    assert len(train) == 60
    assert len(unwanted) == 30
    assert test
    assert all(row["completion"] for row in test)
    sides = {row["detail"]: row for row in read("data/ledger/split.parquet") if row["rule"] == "unwanted"}
    assert set(sides) == {"test"}

    figures = {name: json.loads((folder / f"metrics/{name}.json").read_text()) for name in ("sft", "align", "quality")}
    assert figures["sft"]["rows"]["unwanted"]["train"] == 30
    assert figures["align"]["answers"]["wanted"] == figures["align"]["answers"]["unwanted"] == 30
    assert figures["quality"]["aligned"]["advice"]["chrf"]["n"] == len(test)
    fed = {name: {row["row_id"] for row in read(f"data/fed/{name}.parquet")} for name in ("sft", "align")}
    assert not fed["sft"] & unwanted
    assert fed["align"] & unwanted

    (masked,) = [row for row in read("data/clean.parquet") if "EMAIL" in (row["rejected"] or "")]
    assert masked["rejected"] == "Write to <EMAIL_ADDRESS> about it."
    told = run([CLEW, "rows", "explain", masked["row_id"]], folder).stdout
    assert "unwanted answer: Write to" in told
    assert "personal_data" in told
    for command in ((*GIT, "add", "-A"), (*GIT, "commit", "-qm", "made")):
        run(command, folder)
    one = min(unwanted & fed["align"])
    told = run([CLEW, "rows", "explain", one], folder).stdout
    assert "sft: dropped by unwanted" in told
    assert "align: kept" in told
    told = run([CLEW, "rows", "trace", one], folder).stdout
    assert "fed: sft never" in told, told
    assert "align times" in told, told
    assert "an answer that was not wanted" in (folder / "reports/report.html").read_text()
    assert "Data and pipelines are up to date" in run([DVC, "repro"], folder).stdout
