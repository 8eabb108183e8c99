"""pipeline: the stages as they ran, with what each had to work on; the base model; sources and licences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clew.report import words
from clew.report.experiment import Experiment

Chip = tuple[str, str, bool]
"""A stage: its name, a few words on what it did here, and whether it only passed its input through."""
OFF = "off: passed through"
UNITS = {"dpo": "pair", "kto": "rated answer"}
"""What a step of alignment is made of; else answers that the model draws itself."""


def build(experiment: Experiment) -> Mapping[str, Any]:
    """Lanes of stages, what the base model is, and a line for each source."""
    p = experiment.params
    return {
        "lanes": [
            ("Data", data_lane(experiment)),
            ("Models", model_lane(p)),
            ("Measures", measure_lane(p)),
        ],
        "model": {
            "name": model_name(p["fetch_model"]["uri"]),
            "uri": p["fetch_model"]["uri"],
            "license": p["fetch_model"]["license"],
            "random": p["fetch_model"]["random_init"] is not None,
        },
        "sources": [
            {"name": name, "uri": source["uri"], "license": source["license"], "tasks": tasks_of(experiment, name)}
            for name, source in p["fetch_data"]["sources"].items()
        ],
    }


def data_lane(experiment: Experiment) -> list[Chip]:
    """From raw files to the rows that are trained on."""
    p = experiment.params
    left = {stage: _left(experiment, stage) for stage in ("prepare", "clean", "split", "select")}
    selected, augmented = p["select"]["enabled"], p["augment"]["enabled"]
    added = sum(d.n for d in experiment.decisions if d.stage == "augment" and d.decision == "added")
    reweighed = sum(d.n for d in experiment.decisions if d.stage == "balance" and d.decision == "changed")
    return [
        ("fetch_data", words.plural(len(p["fetch_data"]["sources"]), "source"), False),
        ("prepare", words.plural(left["prepare"], "row"), False),
        ("clean", f"{words.number(left['clean'], 'count')} left", False),
        ("split", f"{words.number(left['split'], 'count')} used", False),
        ("select", f"{words.number(left['select'], 'count')} of train kept" if selected else OFF, not selected),
        ("augment", f"{words.number(added, 'count')} added" if augmented else OFF, not augmented),
        ("balance", f"{words.number(reweighed, 'count')} reweighed" if reweighed else "weights as they were", False),
    ]


def model_lane(p: Mapping[str, Any]) -> list[Chip]:
    """From the base model to the smallest one."""
    unit = {"dpo": "pair", "kto": "row"}.get(p["align"]["algorithm"], "prompt")
    align = f"{p['align']['algorithm'].upper()}, up to {words.plural(p['align']['rows'], unit)}"
    reward = f"up to {words.plural(p['reward']['rows'], 'pair')}" if p["reward"]["enabled"] else "off: none made"
    lane = [
        ("fetch_model", model_name(p["fetch_model"]["uri"]), False),
        ("sft", method(p["sft"]), False),
        ("reward", reward, not p["reward"]["enabled"]),
        ("align", align if p["align"]["enabled"] else OFF, not p["align"]["enabled"]),
    ]
    return lane + [(f"compress@{name}", "from the aligned model", False) for name in p["compress"]["methods"]]


def measure_lane(p: Mapping[str, Any]) -> list[Chip]:
    """From the models to this page."""
    return [
        ("predict", words.plural(len(p["predict"]["variants"]), "variant"), False),
        ("evaluate", words.plural(p["evaluate"]["resamples"], "resample"), False),
        ("fairness", words.plural(len(p["fairness"]["audits"]), "audit"), False),
        ("report", "this page", False),
    ]


def method(section: Mapping[str, Any]) -> str:
    """How a trainer trains, in a few words."""
    name = section["method"]
    own = section[{"qlora": "lora"}.get(name, name)] if name != "full" else {}
    if name in ("lora", "qlora"):
        said = f"{'QLoRA' if name == 'qlora' else 'DoRA' if own['dora'] else 'LoRA'} of rank {own['rank']}"
    else:
        said = {"full": "full", "ia3": "IA³"}.get(name) or f"{name} of {words.plural(own['tokens'], 'token')}"
    return f"{said}, {words.plural(section['epochs'], 'epoch')}"


def model_name(uri: str) -> str:
    """What people call the model at this address.

    >>> model_name("hf://acme/tiny@abc123"), model_name("package://llm==1.2/llm/SmolLM2.Q4.gguf")
    ('acme/tiny', 'SmolLM2.Q4')
    >>> model_name("package://minilm==0.1/minilm/model.zip!/**")
    'minilm'
    """
    scheme, _, rest = uri.rpartition("://")
    if scheme == "hf":
        return rest.partition("@")[0]
    if scheme.startswith("package") and "*" in rest.rpartition("/")[2]:
        return rest.partition("==")[0]
    last = uri.removeprefix("file:").rstrip("/").rpartition("/")[2]
    for ending in (".gguf", ".safetensors", ".tar.gz", ".zip"):
        last = last.removesuffix(ending)
    return last


def tasks_of(experiment: Experiment, source: str) -> list[str]:
    """The tasks that are made from a source."""
    tasks = experiment.params["prepare"]["tasks"]
    return [words.plain_name(task) for task, mapping in tasks.items() if mapping["source"] == source]


def _left(experiment: Experiment, stage: str) -> int:
    return sum(d.n for d in experiment.decisions if d.stage == stage and d.decision != "dropped")
