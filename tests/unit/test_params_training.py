"""What `clew params check` refuses of the sections that train, before anything is loaded."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from clew import params
from clew.errors import ParamsError

ROOT = Path(__file__).parents[2]
PROMPT = {"method": "prompt", "prompt": {"tokens": 4, "text": None}, "merge": False}
PREFIX = {"method": "prefix", "prefix": {"tokens": 4}, "merge": False}
WHOLE = {"methods": []}
OFF = {"enabled": False}
ON = {"enabled": True}
GRPO = {"algorithm": "grpo"}
KTO = {
    "algorithm": "kto",
    "dpo": None,
    "kto": {"beta": 0.1, "wanted_weight": 1.0, "unwanted_weight": 1.0, "row_weights": False},
}
LORA = {"rank": 8, "alpha": 16, "dropout": 0.0, "rslora": False, "dora": False, "last_layers": 15}
HELD_OUT = {"rows": 8, "max_new_tokens": 32, "resamples": 100, "confidence": 0.95}


def _load(folder: Path, **sections: dict[str, Any]) -> params.Params:
    tree = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    for name, values in sections.items():
        tree[name] |= values
    if not tree["compress"]["methods"]:
        tree["predict"]["variants"] = ["base", "sft", "aligned"]
    (folder / "params.yaml").write_text(json.dumps(tree))
    return params.load(folder / "params.yaml")


@pytest.mark.parametrize(
    "sections",
    [
        {"sft": {"method": "full", "lora": None}},
        {"sft": {"method": "qlora"}},
        {"sft": {"warmup": 20}},
        {"sft": {"micro_batch_size": "auto", "max_grad_norm": None, "optimizer": "adafactor"}},
        {"sft": {"schedule": "constant", "warmup": 0}},
        {"sft": {"method": "full", "merge": False}, "align": {"enabled": False}},
        {"sft": {"merge": False}, "reward": OFF},  # align merges it before it goes on, and its own is merged
        {"sft": PROMPT, "align": OFF, "compress": WHOLE, "reward": OFF},
        {"sft": PREFIX, "align": PREFIX, "compress": WHOLE, "reward": OFF},
    ],
    ids=str,
)
def test_what_goes_together_is_taken(tmp_path: Path, sections: dict[str, Any]) -> None:
    assert _load(tmp_path, **sections)


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"sft": {"lora": None}}, "sft: method is lora, and its section `lora` is null"),
        ({"sft": {"method": "qlora", "lora": None}}, "sft: method is qlora, and its section `lora` is null"),
        ({"align": {"method": "ia3"}}, "align: method is ia3, and its section `ia3` is null"),
        ({"sft": PREFIX | {"merge": True}}, "prefix cannot be merged into weights; set merge: false"),
        ({"sft": {"schedule": "constant"}}, "constant has no warm-up; take constant_with_warmup"),
        ({"sft": PREFIX | {"gradient_checkpointing": True}}, "there is no gradient_checkpointing: set it false"),
        ({"sft": {"attention": "flash_attention_2", "precision": "float32"}}, "takes no float32; set precision"),
        ({"sft": {"warmup": 1.5}}, "sft.warmup: neither a share of the steps (0.0, 0.1) nor a number of them"),
        ({"sft": {"warmup": -1}}, "sft.warmup: neither a share"),
        ({"sft": {"micro_batch_size": "all"}}, "sft.micro_batch_size: input should be 'auto'"),
        ({"sft": {"optimizer": "lion"}}, "sft.optimizer: input should be 'adamw'"),
        (
            {"sft": {"method": "ia3", "ia3": {"target_modules": ["k_proj"], "feedforward_modules": ["down_proj"]}}},
            "sft.ia3: feedforward_modules are not among target_modules: down_proj",
        ),
        ({"sft": PROMPT, "compress": WHOLE}, "align.method: sft leaves a prompt, which align can only train on"),
        ({"sft": PREFIX, "align": PREFIX}, "compress.methods: align leaves its adapter beside the model"),
        ({"sft": PREFIX, "align": {"enabled": False}}, "compress.methods: sft leaves its adapter beside the model"),
        ({"align": {"merge": False}}, "compress.methods: align leaves its adapter beside the model"),
        ({"align": PREFIX | GRPO, "compress": WHOLE}, "align.method: prefix is trained with algorithm: dpo only"),
        (
            {"sft": {"merge": False}, "reward": ON},
            "reward.enabled: wants a whole model to start from: set sft.merge: true",
        ),
        ({"reward": ON | PREFIX}, "reward.method: a reward model is trained full, or by lora or ia3 with merge: true"),
        ({"sft": {"merge": False}, "align": {"method": "qlora"}}, "align.method: qlora wants a whole model"),
        ({"align": KTO | {"micro_batch_size": "auto"}}, "align.micro_batch_size: must be a number"),
        ({"split": {"limits": {"stress": {"train": 0, "valid": 1, "test": 1}}}}, "has no rows to learn from"),
        ({"sft": {"lora": LORA | {"target_modules": []}}}, "target_modules"),
        ({"sft": {"merge": False}, "align": {"method": "full"}}, "align.method: full wants a whole model"),
        ({"align": {"held_out": HELD_OUT | {"max_new_tokens": 630}}}, "leaves no 16 tokens of align.max_length"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused(tmp_path: Path, sections: dict[str, Any], said: str) -> None:
    with pytest.raises(ParamsError) as error:
        _load(tmp_path, **sections)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("section", "key", "value"), [("sft", "method", "qlora"), ("align", "optimizer", "paged_adamw_8bit")]
)
def test_without_bitsandbytes_what_wants_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str, key: str, value: str
) -> None:
    assert _load(tmp_path, **{section: {key: value}})
    version = metadata.version

    def lacking(name: str) -> str:
        if name == "bitsandbytes":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", lacking)
    assert _load(tmp_path)
    with pytest.raises(ParamsError, match=rf"{section}\.{key}: {value} wants the package bitsandbytes"):
        _load(tmp_path, **{section: {key: value}})
