"""The worked example in docs/data.md works as it stands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from clew import params, paths, rows
from clew.errors import SourceError
from clew.stages import clean, fetch_data, prepare, split

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/data.md").read_text()


def test_bringing_your_own_data_as_the_guide_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLEW_CACHE", str(tmp_path / "cache"))
    yaml = YAML(typ="safe")
    examples = [json.loads(line) for line in re.search(r"```json\n(.*?)```", TEXT, re.S)[1].splitlines()]
    lines = [json.dumps(example | {"body": f"{n}. {example['body']}"}) for n in range(30) for example in examples]
    Path("tickets.jsonl").write_text("\n".join(lines) + "\n")

    tree = yaml.load((ROOT / "params.yaml").read_text())
    for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.S):
        tree |= yaml.load(block)
    tree["clean"]["label_noise"]["tasks"] = tree["align"]["tasks"] = ["team"]
    tree["clean"]["near_duplicates"] = None  # 30 copies of two tickets are all alike
    tree["split"] |= {"limits": {}, "leakage": None, "contamination": None}
    tree["balance"]["audits"] = tree["fairness"]["audits"] = []
    p = params.Params.model_validate_json(json.dumps(tree))

    with pytest.raises(SourceError) as error:
        fetch_data.run(p.fetch_data)
    zeros, actual = "0" * 64, next(d for d in re.findall(r"[0-9a-f]{64}", str(error.value)) if d != "0" * 64)
    p = params.Params.model_validate_json(json.dumps(tree).replace(zeros, actual))
    fetch_data.run(p.fetch_data)
    prepare.run(p.prepare)
    clean.run(p.clean, p.prepare, p.seed)
    split.run(p.split, p.seed)
    assert rows.read(paths.ROWS)[1]["label"] == "technical"
    assert len(rows.read(paths.CLEAN)) == 60


def test_every_file_that_the_docs_name_exists() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for name in re.findall(
            r"`((?:src|tests|docs|\.ci)/[\w./-]+|[\w-]+\.(?:yaml|lock|toml))`", document.read_text()
        ):
            assert (ROOT / name).exists() or (ROOT / "src/clew" / name).exists(), f"{document.name}: {name}"
