"""Stages of tiny models in two processes, over gloo."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from clew import launch, params, paths
from examples.experiment import PARAMS

ROOT = Path(__file__).parents[2]
ENCODER = {  # what an encoder's params.yaml must say of the rest
    "model": {"kind": "encoder"},
    "split": {**PARAMS["split"], "limits": {"notes": {"train": 0, "valid": 0, "test": 0}}},
    "align": {**PARAMS["align"], "enabled": False},
    "predict": {**PARAMS["predict"], "variants": ["sft"]},
    "compress": {**PARAMS["compress"], "methods": []},
    "fairness": {**PARAMS["fairness"], "audits": []},
}


def configs(into: Path) -> None:
    """The configurations of accelerate that are in this repository."""
    shutil.copytree(ROOT / paths.CONFIGS, into / paths.CONFIGS)


def write_params(stage: str, section: params.Optimisation, *, config: str, kind: str = "decoder") -> None:
    """A params.yaml in which the stage has its section, launched by a configuration."""
    changed = {**section.model_dump(mode="json"), "launch": config}
    tree = {**PARAMS, **(ENCODER if kind == "encoder" else {}), "seed": 1, stage: changed}
    Path("params.yaml").write_text(json.dumps(tree))


def run(stage: str, section: params.Optimisation, *, config: str = "ddp_cpu", kind: str = "decoder") -> dict[str, Any]:
    """Run a stage as `clew stage` does, launched by a configuration; what the main process tells of it."""
    write_params(stage, section, config=config, kind=kind)
    asked, place = launch.read(config)
    return launch.run(stage, asked, place)
