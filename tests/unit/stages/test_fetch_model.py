"""fetch_model writes a model that later stages can trust: weights, tokenizer and template that fit each other."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clew import io, params, paths, sources
from clew.errors import ModelError
from clew.stages import fetch_model

TEMPLATE = (
    "{% for m in messages %}<start>{{ m['role'] }} {{ m['content'] }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<start>assistant {% endif %}"
)
WORDS = ["<unk>", "<start>", "<end>", "ab", *"abcdefghijklmnopqrstuvwxyz ", *[f"w{n}" for n in range(33)]]
SPECIAL = {"unk_token": "<unk>", "bos_token": "<start>", "eos_token": "<end>"}
DECODER = params.Model(kind="decoder")
SIZES = params.RandomInit(
    hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2
)
FILES = {
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama as a hub serves it: config, safetensors, tokenizer, template."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("hub") / "tiny"
    tokens = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, "<unk>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokens, **SPECIAL, chat_template=TEMPLATE)
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def model(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to change, beside an empty repository as cwd."""
    folder = tmp_path / "tiny"
    shutil.copytree(saved, folder)
    (tmp_path / "repository").mkdir()
    monkeypatch.chdir(tmp_path / "repository")
    monkeypatch.setenv("CLEW_CACHE", str(tmp_path / "cache"))
    return folder


def section(source: Path, dtype: str = "float32", random_init: params.RandomInit | None = None) -> params.FetchModel:
    return params.FetchModel.model_validate(
        {
            "uri": f"file:{source}",
            "sha256": sources.digest(source) if source.is_dir() else io.sha256(source),
            "license": "MIT",
            "dtype": dtype,
            "random_init": random_init,
        }
    )


def load():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(paths.BASE), AutoTokenizer.from_pretrained(paths.BASE)


def change(path: Path, **values: object) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in (content | values).items() if value is not None}))


def test_a_folder_of_safetensors_keeps_its_weights(model):
    import torch
    from safetensors.torch import load_file

    facts = fetch_model.run(section(model), DECODER, seed=1)
    assert {path.name for path in paths.BASE.iterdir()} == FILES
    before, after = load_file(model / "model.safetensors"), load_file(paths.BASE / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    loaded, tokenizer = load()
    assert (facts["parameters"], facts["tokens"]) == (loaded.num_parameters(), len(WORDS))
    assert tokenizer.chat_template == TEMPLATE
    assert tokenizer.pad_token_id == loaded.generation_config.pad_token_id == loaded.config.pad_token_id == 2
    assert loaded.generation_config.eos_token_id == 2
    assert not list(Path().rglob("*.part"))


def test_weights_are_stored_as_declared(model):
    fetch_model.run(section(model, dtype="bfloat16"), DECODER, seed=1)
    assert str(load()[0].dtype) == "torch.bfloat16"


def test_the_sources_own_generation_config_stays(model):
    change(model / "generation_config.json", eos_token_id=[2, 0], temperature=0.2, do_sample=True)
    fetch_model.run(section(model), DECODER, seed=1)
    written = io.read_json(paths.BASE / "generation_config.json")
    assert (written["eos_token_id"], written["temperature"], written["pad_token_id"]) == ([2, 0], 0.2, 2)


def test_random_weights_need_none_of_the_sources_and_follow_the_seed(model):
    (model / "model.safetensors").unlink()
    digests = []
    for seed in (1, 1, 2):
        fetch_model.run(section(model, random_init=SIZES), DECODER, seed=seed)
        digests.append(io.sha256(paths.BASE / "model.safetensors"))
    assert digests[0] == digests[1] != digests[2]
    config = load()[0].config
    assert {name: getattr(config, name) for name in SIZES.model_dump()} == SIZES.model_dump()
    assert (config.head_dim, config.vocab_size) == (8, len(WORDS))


def test_another_process_in_another_folder_writes_the_same_bytes(model, tmp_path):
    gguf = write_gguf(tmp_path / "source.gguf")
    code = (
        "import sys; from clew import params; from clew.stages import fetch_model\n"
        "for name in sys.argv[1:]:\n"
        "    section = params.FetchModel.model_validate_json(open(name).read())\n"
        "    fetch_model.run(section, params.Model(kind='decoder'), 7)\n"
        "    __import__('os').rename('models/base', name + '.made')\n"
    )
    declared = {"fresh": section(model, random_init=SIZES), "dequantised": section(gguf), "copied": section(model)}
    elsewhere = tmp_path / "a deeper" / "folder"
    elsewhere.mkdir(parents=True)
    for name, wanted in declared.items():
        (elsewhere / name).write_text(wanted.model_dump_json())
    env = os.environ | {"PYTHONHASHSEED": "123"}
    subprocess.run([sys.executable, "-c", code, *declared], cwd=elsewhere, env=env, check=True, capture_output=True)
    for name, wanted in declared.items():
        fetch_model.run(wanted, DECODER, seed=7)
        for file in sorted(paths.BASE.iterdir()):
            assert file.read_bytes() == (elsewhere / f"{name}.made" / file.name).read_bytes(), (name, file.name)
            assert str(tmp_path).encode() not in file.read_bytes()
            assert b"source.gguf" not in file.read_bytes()


def write_gguf(path: Path, *, template: str | None = TEMPLATE, eos: int | None = 2) -> Path:
    """A one-layer Llama as llama.cpp stores it: matrices in 8-bit blocks, norms as floats."""
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import quantize

    writer = GGUFWriter(path, "llama")
    writer.add_name("A name from the author's machine")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_dimension_count(8)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(WORDS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(WORDS)
    writer.add_token_types([3 if word.startswith("<") else 1 for word in WORDS])
    writer.add_token_merges(["a b"])
    if eos is not None:
        writer.add_unk_token_id(0)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(eos)
    if template:
        writer.add_chat_template(template)
    shapes = {"token_embd": (len(WORDS), 32), "blk.0.attn_q": (32, 32), "blk.0.attn_k": (16, 32)}
    shapes |= {"blk.0.attn_v": (16, 32), "blk.0.attn_output": (32, 32), "blk.0.ffn_gate": (64, 32)}
    shapes |= {"blk.0.ffn_up": (64, 32), "blk.0.ffn_down": (32, 64)}
    random = np.random.default_rng(0)
    for name, shape in shapes.items():
        blocks = quantize(random.normal(size=shape).astype(np.float32), GGMLQuantizationType.Q8_0)
        writer.add_tensor(f"{name}.weight", blocks, raw_dtype=GGMLQuantizationType.Q8_0)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", random.normal(size=32).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_gguf_file_is_turned_back_into_floats(model, tmp_path):
    import torch
    from gguf import GGUFReader, dequantize

    source = write_gguf(tmp_path / "tiny-Q8_0.gguf")
    fetch_model.run(section(source), DECODER, seed=1)
    assert {path.name for path in paths.BASE.iterdir()} == FILES
    loaded, tokenizer = load()
    expected = {tensor.name: dequantize(tensor.data, tensor.tensor_type) for tensor in GGUFReader(source).tensors}
    layer = loaded.model.layers[0]
    for weight, name in {
        loaded.model.embed_tokens.weight: "token_embd.weight",
        layer.mlp.down_proj.weight: "blk.0.ffn_down.weight",
        layer.self_attn.v_proj.weight: "blk.0.attn_v.weight",
        loaded.model.norm.weight: "output_norm.weight",
    }.items():
        assert torch.equal(weight, torch.from_numpy(expected[name].copy())), name
    assert (tokenizer.chat_template, tokenizer.eos_token, len(tokenizer)) == (TEMPLATE, "<end>", len(WORDS))
    fetch_model.run(section(source, random_init=SIZES), DECODER, seed=1)
    assert load()[0].config.num_hidden_layers == 2


def no_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()


def broken_template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ raise_exception('no user turns') }}")


def no_eos(folder: Path) -> None:
    change(folder / "tokenizer_config.json", eos_token=None)


def longer_tokenizer(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["vocab"]["extra"] = len(WORDS)
    (folder / "tokenizer.json").write_text(json.dumps(content))


def no_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def unknown_config(folder: Path) -> None:
    change(folder / "config.json", model_type="mystery", auto_map={"AutoConfig": "code.Config"})
    (folder / "code.py").write_text("raise SystemExit('ran')")


def only_a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def missing_weights(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def cut_weights(folder: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-100])


def other_shapes(folder: Path) -> None:
    change(folder / "config.json", intermediate_size=48)


def two_ggufs(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    for name in ("a", "b"):
        (folder / f"{name}.gguf").write_bytes(b"GGUF")


def garbled_gguf(folder: Path) -> None:
    no_tokenizer(folder)
    no_config(folder)
    (folder / "a.gguf").write_bytes(b"GGUF" + bytes(range(100)))


def an_adapter(folder: Path) -> None:
    """transformers would read the base that it names, from a hub if need be."""
    content = {"base_model_name_or_path": "someone/else", "peft_type": "LORA", "task_type": "CAUSAL_LM"}
    (folder / "adapter_config.json").write_text(json.dumps(content))


def weights_elsewhere(folder: Path) -> None:
    """transformers follows any path in the index."""
    other = folder.parent / "other.safetensors"
    shutil.move(folder / "model.safetensors", other)
    (folder / "x.safetensors").write_bytes(other.read_bytes())
    content = {"metadata": {}, "weight_map": {"model.norm.weight": str(other)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))


def broken_index(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text("[]")


def broken_generation_config(folder: Path) -> None:
    (folder / "generation_config.json").write_text("{")


def template_that_asks_for_too_much(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ messages | dictsort }}")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (an_adapter, "the source is an adapter, which names a base model elsewhere"),
        (weights_elsewhere, "model.safetensors.index.json names weights that the source lacks: .*other.safetensors"),
        (broken_index, "model.safetensors.index.json is no index of weights"),
        (broken_generation_config, "the generation config cannot be loaded"),
        (template_that_asks_for_too_much, "the chat template fails"),
        (no_template, "the tokenizer has no chat template"),
        (broken_template, r"the chat template fails \(no user turns\)"),
        (no_eos, "the tokenizer has no end-of-sequence token"),
        (longer_tokenizer, r"the tokenizer's tokens go up to 64, the model's embeddings only to 63"),
        (no_tokenizer, "the tokenizer cannot be loaded"),
        (no_config, "the source has neither a GGUF file nor a config.json"),
        (unknown_config, "the config cannot be loaded .it needs code of its own"),
        (only_a_pickle, "the weights cannot be loaded"),
        (missing_weights, "the weights cannot be loaded .*model.norm.weight"),
        (cut_weights, "the weights cannot be loaded"),
        (other_shapes, "the weights cannot be loaded"),
        (two_ggufs, "there are 2 GGUF files, such as a.gguf and b.gguf"),
        (garbled_gguf, "the config cannot be loaded .a.gguf is GGUF v"),
    ],
)
def test_a_model_that_cannot_be_used_is_told_in_one_line(spoil: Callable[[Path], None], told: str, model: Path):
    spoil(model)
    with pytest.raises(ModelError, match=rf"^fetch_model: {told}") as error:
        fetch_model.run(section(model), DECODER, seed=1)
    assert "\n" not in str(error.value)
    assert not paths.BASE.exists()


@pytest.mark.parametrize("sizes", [{"num_attention_heads": 5}, {"num_key_value_heads": 3}])
def test_sizes_that_do_not_divide_are_told(sizes, model):
    with pytest.raises(ModelError, match=r"^fetch_model.random_init: 32 dimensions"):
        fetch_model.run(section(model, random_init=SIZES.model_copy(update=sizes)), DECODER, seed=1)


def test_a_model_that_names_code_comes_without_it(model):
    change(model / "config.json", auto_map={"AutoModelForCausalLM": "code.Model"})
    (model / "code.py").write_text("raise SystemExit('ran')")
    fetch_model.run(section(model), DECODER, seed=1)
    assert {path.name for path in paths.BASE.iterdir()} == FILES
    assert "auto_map" not in io.read_json(paths.BASE / "config.json")


def test_the_digest_of_a_model_is_that_of_its_listing(model):
    names = sorted(path.name for path in model.iterdir())
    listing = "".join(f"{hashlib.sha256((model / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
    assert section(model).sha256 == hashlib.sha256(listing.encode()).hexdigest()
