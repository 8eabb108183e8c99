"""`clew plan`: what it counts is what training counts, what it adds up it adds up as the docs say, what cannot fit."""

from __future__ import annotations

import json
import math
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from clew import io, paths, rows
from clew.planning import gpus, memory, model, settings
from clew.planning.memory import Batch
from clew.stages import align, sft
from examples import experiment, tiny_model

ROOT = Path(__file__).parents[3]
LORA = experiment.LORA | {"rank": 4, "target_modules": ["q_proj", "up_proj", "down_proj"], "last_layers": 1}


def _plan(*arguments: str, code: int = 0) -> Any:
    command = [sys.executable, "-m", "clew", "plan", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout) if "--json" in arguments else done.stdout


def _declare(**sections: dict[str, Any]) -> Any:
    p = experiment.declared(**sections)
    Path("params.yaml").write_text(p.model_dump_json())
    return p


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose stages have not run, with a tiny base model and rows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    subprocess.run(["git", "init", "-q"], check=True)
    shutil.copy(ROOT / "dvc.yaml", "dvc.yaml")
    tiny_model.write(paths.BASE)
    rows.write(paths.TRAIN, tiny_model.rows(21))
    rows.write(paths.SPLITS / "valid.parquet", tiny_model.rows(3, first=50))
    return tmp_path


@pytest.mark.parametrize("method", ["lora", "full"])
def test_rows_tokens_steps_and_trained_parameters_are_those_of_the_run(here: Path, method: str) -> None:
    training = {"method": method, "lora": LORA, "epochs": 1.5, "batch_size": 4, "micro_batch_size": 2, "max_length": 96}
    p = _declare(sft={**training, "patience": 99}, align={**training, "rows": 7, "method": "lora"})
    told = _plan("sft", "align", "--json")["training"]
    sft.run(p.sft, p.model, p.seed)
    shutil.copytree(paths.BASE, paths.SFT, dirs_exist_ok=True)
    align.run(p.align, p.seed)
    made = io.read_json(paths.SFT_METRICS)
    assert told["sft"]["rows"] == made["rows"]["train"] == 21
    assert told["sft"]["tokens"] == made["tokens_fed"]
    assert told["sft"]["tokens_trained"] == made["tokens_trained"]
    assert told["sft"]["steps"] == made["steps"] == math.ceil(21 * 1.5 / 4)
    assert told["sft"]["parameters"]["trained"] == made["parameters"]["trained"]
    assert told["sft"]["parameters"]["share"] == pytest.approx(made["parameters"]["share"], rel=0.2)
    pairs = io.read_json(paths.ALIGN_METRICS)
    assert told["align"]["rows"] == pairs["pairs"]["all"] == 7
    assert told["align"]["steps"] == pairs["steps"]
    assert told["align"]["parameters"]["trained"] == pairs["parameters"]["trained"]
    assert not told["sft"]["exact"], "balance has never run: the rows are an earlier run's"


def test_the_plan_of_a_new_experiment_in_words(here: Path) -> None:
    _declare()
    said = _plan()
    assert "fetch_data       runs  has never run here: dvc.lock does not have it" in said
    assert "an estimate: the rows of data/train.parquet, which will be made again" in said
    assert "disk: about" in said
    only = _plan("sft", "--on", "h100")
    assert "sft, on NVIDIA H100 80 GB (86 GB of memory)" in only
    assert "ms a layer and micro-batch" in only
    assert "fetch_data" not in only
    assert "align, on" not in only


def test_without_rows_the_limits_of_params_stand_in_for_them(here: Path) -> None:
    paths.TRAIN.unlink()
    _declare()
    told = _plan("sft", "--json")["training"]["sft"]
    assert (told["rows"], told["exact"]) == (120, False)
    assert told["tokens"] == 120 * 256
    assert told["memory"]["batch"]["tokens"] == 256
    earlier = pa.schema([field for field in rows.SCHEMA if field.name != "options"])
    io.write_parquet(paths.TRAIN, [], earlier)
    assert _plan("sft", "--json")["training"]["sft"]["rows"] == 120
    limits = {"stress": {"train": 100, "valid": 20, "test": 60}}
    _declare(split={"limits": limits})
    told = _plan("sft", "--json")["training"]["sft"]
    assert (told["rows"], told["tokens"], told["seconds"]) == (None, None, None)
    assert "no split.limits for notes" in told["source"]


def test_without_a_model_the_plan_says_what_brings_one(here: Path) -> None:
    shutil.rmtree(paths.BASE)
    _declare()
    assert "note: sft: models/base is neither here nor in DVC's cache; run `dvc repro fetch_model`" in _plan("sft")


def test_a_stage_or_module_that_there_is_not_is_told(here: Path) -> None:
    _declare()
    command = [sys.executable, "-m", "clew", "plan", "stf"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no stage stf" in done.stderr
    _declare(sft={"lora": {**LORA, "target_modules": ["c_attn"]}})
    done = subprocess.run([*command[:-1], "sft"], capture_output=True, text=True, check=False)
    assert "sft.lora.target_modules: the model's layers have no c_attn" in done.stderr


def _write_large(folder: Path, layers: int, hidden: int) -> None:
    """A model of many billion parameters: its config and header, and a hole where the weights would be."""
    shapes = {"model.embed_tokens.weight": [32000, hidden], "lm_head.weight": [32000, hidden]}
    for layer in range(layers):
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            shapes[f"model.layers.{layer}.self_attn.{name}.weight"] = [hidden, hidden]
        for name in ("gate_proj", "up_proj", "down_proj"):
            shapes[f"model.layers.{layer}.mlp.{name}.weight"] = [hidden, 4 * hidden]
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_size": hidden, "intermediate_size": 4 * hidden, "num_hidden_layers": layers}
    config |= {"num_attention_heads": 32, "num_key_value_heads": 32, "head_dim": hidden // 32, "vocab_size": 32000}
    (folder / "config.json").write_text(json.dumps(config))


def test_what_cannot_fit_exits_with_1_and_says_why(here: Path) -> None:
    _write_large(paths.BASE, layers=32, hidden=4096)
    paths.TRAIN.unlink()
    _declare(sft={"method": "full"})
    said = _plan("sft", "--on", "a100-40", code=1)
    assert "does not fit: sft needs about " in said
    assert "NVIDIA A100 40 GB has 43 GB: lower sft.micro_batch_size or sft.max_length" in said
    told = _plan("sft", "--on", "a100-40", "--json", code=1)
    assert not told["fits"]
    trained = told["training"]["sft"]["parameters"]["trained"]
    assert trained == 2 * 32000 * 4096 + 32 * (4 * 4096**2 + 3 * 4 * 4096**2)
    assert told["training"]["sft"]["memory"]["parts"]["optimizer"] == 8 * trained
    assert told["disk"]["checkpoints"] == 3 * 16 * trained
    assert any("of disk are free" in problem for problem in told["problems"])


def _parts(section: dict[str, Any], batch: Batch, kind: str = "cpu", precision: str = "bfloat16") -> dict[str, int]:
    class Nowhere:
        def find(self, _: str) -> None: ...

    p = experiment.declared(sft=section)
    found = model.read(paths.BASE, Nowhere(), None)  # type: ignore[arg-type]
    assert found is not None
    return memory.estimate(found, settings.of(p.sft, found, "sft"), [batch], kind, precision).parts


def test_activations_are_those_that_torch_saves_for_the_backward_pass(here: Path) -> None:
    """Counted by hooks on Llama's layers, in each precision and for full training and LoRA alike."""
    import torch
    from transformers import AutoModelForCausalLM

    from clew.training import device, loop

    tiny_model.write_model(paths.BASE, hidden_size=64, intermediate_size=192, num_hidden_layers=4)
    every = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    lora = {**LORA, "target_modules": every, "last_layers": 3}
    for method in ("lora", "full"):
        for precision in ("float32", "bfloat16"):
            section = {"method": method, "lora": lora}
            p = experiment.declared(sft=section)
            net = AutoModelForCausalLM.from_pretrained(paths.BASE, attn_implementation="sdpa")
            adapter = loop.adapter(p.sft, net, "sft")
            if adapter is not None:
                from peft import get_peft_model

                net = get_peft_model(net, adapter)
            own = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
            saved: dict[int, int] = {}

            def keep(tensor: Any, saved: dict[int, int] = saved, own: set[int] = own) -> Any:
                storage = tensor.untyped_storage()
                if storage.data_ptr() not in own:
                    saved[storage.data_ptr()] = storage.nbytes()
                return tensor

            ids = torch.randint(0, 250, (4, 128))
            mask = torch.ones_like(ids)
            mask[0, 100:] = 0
            with (
                device.Device("cpu", precision, "sdpa").autocast(),
                torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
            ):
                hidden = net.get_base_model().model if method == "lora" else net.model
                kept = hidden(input_ids=ids, attention_mask=mask, use_cache=False)
            parts = _parts(section, Batch(4, 128, 8), precision=precision)
            told = parts["activations"] + parts.get("weights in bfloat16", 0)
            if method == "full" and precision == "bfloat16":
                told -= 2 * 259 * 64  # the head, which is not part of this
            assert told == pytest.approx(sum(saved.values()), rel=0.1), (method, precision)
            del kept


def test_what_each_setting_takes(here: Path) -> None:
    tiny_model.write_model(paths.BASE, hidden_size=64, intermediate_size=192, num_hidden_layers=4)
    batch = Batch(8, 256, 64)
    lora, full = ({"method": method, "lora": LORA} for method in ("lora", "full"))
    count = 259 * 64 + 4 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 192 + 2 * 64) + 64
    parts = _parts(full, batch)
    assert parts["gradients"] == 4 * count
    assert parts["optimizer"] == 8 * count
    assert parts["weights"] == 4 * count
    assert _parts(lora, batch)["activations"] < parts["activations"] / 3, "one layer of four"
    twice = _parts(full, Batch(16, 256, 64))
    assert twice["activations"] == 2 * parts["activations"]
    on_gpu = _parts(full, batch, "gpu")
    assert on_gpu["activations"] == parts["activations"]
    assert "writing the model" not in on_gpu
    assert "freed and not used again" not in on_gpu


def test_the_gpus_of_the_command_line_are_those_of_the_table() -> None:
    from clew.cli import plan

    assert set(plan.GPUS) == set(gpus.GPUS)
