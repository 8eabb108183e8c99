"""Adapters: what a model with one answers, how it is kept, and which modules it may have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from clew.errors import ModelError, ParamsError
from clew.evaluation import scoring
from clew.training import adapters, device
from examples import tiny_model

CPU = device.Device("cpu", "float32", "sdpa")
PROMPT: dict[str, Any] = {"method": "prompt", "prompt": {"tokens": 5, "text": None}, "merge": False}
PREFIX: dict[str, Any] = {"method": "prefix", "prefix": {"tokens": 5}, "merge": False}
IA3 = {"target_modules": ("k_proj", "down_proj"), "feedforward_modules": ("down_proj",)}


def _with_adapter(base: Path, target: Path, **changes: Any) -> Any:
    """The tiny model with a random adapter, written to `target` beside its base; returns PEFT's own model of it."""
    from peft import get_peft_model

    torch.manual_seed(1)
    model = device.load_model(base, CPU)
    found = get_peft_model(model, adapters.adapter(tiny_model.sft_params(**changes), model, "sft")).eval()
    with torch.no_grad():
        for parameter in found.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.5)
    adapters.write(found, target / adapters.FOLDER)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The tiny model with larger weights, so that what stands in front makes a difference."""
    from safetensors.torch import load_file, save_file

    where = tiny_model.write(tmp_path / "model")
    weights = load_file(where / "model.safetensors")
    larger = {name: tensor if "norm" in name else tensor * 10 for name, tensor in weights.items()}
    save_file(larger, where / "model.safetensors", metadata={"format": "pt"})
    return where


@pytest.mark.parametrize("changes", [PROMPT, PREFIX], ids=["prompt", "prefix"])
def test_a_prompt_or_prefix_is_scored_and_continued_as_peft_does_one_answer_at_a_time(
    folder: Path, changes: dict[str, Any]
) -> None:
    plain = device.load_model(folder, CPU)
    theirs = _with_adapter(folder, folder, **changes)
    ours = device.load_model(folder, CPU)
    prompts = [[60, *prompt] for prompt in ([65, 66, 67, 68], [70, 71], [65] * 9)]
    answers = [[80, 81, 258], [82, 258], [83, 84, 85, 258]]
    questions = [scoring.Question(prompt, answers, cut=False) for prompt in prompts]
    opening = scoring.read_opening(ours, questions)
    assert opening is not None
    found = scoring.score(ours, questions, 258, opening)
    assert found == [pytest.approx(scores, abs=1e-5) for scores in scoring.score(ours, questions, 258)]
    without = scoring.score(plain, questions, pad=258)
    for prompt, scores, unlike in zip(prompts, found, without, strict=True):
        for answer, score, other in zip(answers, scores, unlike, strict=True):
            with torch.no_grad():
                logits = theirs(input_ids=torch.tensor([prompt + answer])).logits[0, -len(answer) - 1 : -1]
            wanted = logits.log_softmax(-1).gather(-1, torch.tensor(answer)[:, None]).sum()
            assert score == pytest.approx(float(wanted), abs=1e-4)
            assert score != pytest.approx(other, abs=1e-2), "the adapter changes nothing, so this proves nothing"


@pytest.mark.parametrize("changes", [PROMPT, PREFIX], ids=["prompt", "prefix"])
def test_a_prompt_or_prefix_writes_what_the_likeliest_tokens_are_one_by_one(
    folder: Path, changes: dict[str, Any]
) -> None:
    theirs = _with_adapter(folder, folder, **changes)
    ours, tokenizer = device.load_model(folder, CPU), device.load_tokenizer(folder)
    prompts = [[65, 66, 67, 68], [70, 71]]
    wanted = []
    for prompt in prompts:
        ids = list(prompt)
        while len(ids) < len(prompt) + 6:
            with torch.no_grad():
                ids.append(int(theirs(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == tokenizer.eos_token_id:
                break
        wanted.append(tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True).strip())
    assert scoring.generate(ours, tokenizer, prompts, 6) == wanted
    assert any(wanted)


def test_a_prefixed_model_goes_on_from_its_cache(folder: Path) -> None:
    _with_adapter(folder, folder, **PREFIX)
    model = device.load_model(folder, CPU)
    ids = torch.tensor([[65, 66, 67, 68], [70, 71, 72, 73]])
    with torch.no_grad():
        whole = model(input_ids=ids).logits
        first = model(input_ids=ids[:, :3], use_cache=True)
        last = model(input_ids=ids[:, 3:], past_key_values=first.past_key_values, use_cache=True).logits
    assert torch.allclose(whole[:, 3:], last, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [{}, {"lora": tiny_model.LORA | {"dora": True}}, {"method": "ia3", "ia3": IA3}],
    ids=["lora", "dora", "ia3"],
)
def test_an_adapter_beside_the_model_answers_as_merged(folder: Path, changes: dict[str, Any]) -> None:
    theirs = _with_adapter(folder, folder, **changes)
    ids = torch.tensor([[65, 66, 67, 68]])
    with torch.no_grad():
        wanted = theirs(input_ids=ids).logits
        beside = device.load_model(folder, CPU)(input_ids=ids).logits
        merged = device.load_model(folder, CPU, train="full")(input_ids=ids).logits
    assert torch.equal(beside, wanted)
    assert torch.allclose(merged, wanted, atol=1e-5)


def test_an_adapters_config_is_in_order_and_names_no_folder(folder: Path) -> None:
    modules = ("v_proj", "q_proj", "up_proj", "down_proj", "k_proj")
    _with_adapter(folder, folder, lora=tiny_model.LORA | {"target_modules": modules})
    text = (folder / adapters.FOLDER / "adapter_config.json").read_text()
    assert json.loads(text)["target_modules"] == sorted(modules)
    assert str(folder) not in text
    assert {path.name for path in (folder / adapters.FOLDER).iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }


@pytest.mark.parametrize("task_type", ["SEQ_CLS", "TOKEN_CLS"])
def test_an_encoders_modules_and_layers_are_found(task_type: str) -> None:
    from peft import get_peft_model
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, BertConfig

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
    kind = {"SEQ_CLS": AutoModelForSequenceClassification, "TOKEN_CLS": AutoModelForTokenClassification}[task_type]
    model = kind.from_config(BertConfig(vocab_size=100, num_labels=3, **sizes))
    lora = tiny_model.LORA | {"target_modules": ("query", "dense"), "last_layers": 2}
    found = get_peft_model(model, adapters.adapter(tiny_model.sft_params(lora=lora), model, "sft", task_type))
    trained = {name for name, parameter in found.named_parameters() if parameter.requires_grad}
    assert {part for name in trained for part in ("layer.0.", "layer.1.", "layer.2.") if part in name} == {
        "layer.1.",
        "layer.2.",
    }
    assert any("classifier" in name for name in trained), "the head is trained, too"
    assert any("query" in name for name in trained)
    with pytest.raises(ParamsError, match=r"sft.lora.target_modules: the model's layers have no q_proj.*query"):
        adapters.adapter(tiny_model.sft_params(), model, "sft", task_type)


def test_a_model_that_has_a_prompt_trains_on_it_and_on_nothing_else(folder: Path) -> None:
    _with_adapter(folder, folder, **PROMPT)
    model = device.load_model(folder, CPU, train="prompt")
    assert adapters.adapter(tiny_model.sft_params(**PROMPT), model, "align") is None
    assert [name for name, p in model.named_parameters() if p.requires_grad] == [
        "prompt_encoder.default.embedding.weight"
    ]
    with pytest.raises(ParamsError, match=r"align.method: .* has a prompt, and no lora can be trained beside it"):
        adapters.adapter(tiny_model.sft_params(), model, "align")


def test_a_model_without_a_list_of_layers_is_told(folder: Path) -> None:
    model = device.load_model(folder, CPU)
    model.config.num_hidden_layers = 7
    with pytest.raises(ModelError, match="no list of layers"):
        adapters.adapter(tiny_model.sft_params(), model, "sft")
