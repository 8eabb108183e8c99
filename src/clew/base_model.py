"""The base model as clew keeps it: safetensors, config, tokenizer, chat template; nothing that runs, no path, no time.

    models/base/  config.json  generation_config.json  model.safetensors
                  tokenizer.json  tokenizer_config.json  chat_template.jinja

A decoder is read from one GGUF file (its blocks are turned back into floats) or from a folder as a hub serves it, an
encoder from a folder. An encoder has no generation config and needs no template; a head that its source has is left
out, for `sft` draws its own. Pickles are never read and a model's own code never runs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clew.errors import ModelError

if TYPE_CHECKING:
    from clew import params

SOURCES = {
    "decoder": "The source must be a causal language model as transformers saves it, or a GGUF file.",
    "encoder": "The source must be a folder with config.json, *.safetensors and tokenizer.json of an encoder.",
}
DROPPED = ("_name_or_path", "_model_name_or_path", "_from_model_config", "is_local", "local_files_only", "auto_map")
"""Keys of transformers' JSON files that tell where a model was loaded from or whose code to run, not what it is."""


def convert(
    files: Path, into: Path, *, kind: str, dtype: str, random_init: params.RandomInit | None, seed: int, where: str
) -> dict[str, int]:
    """Write the model that `files` holds to the folder `into`. The same files and seed give the same bytes.

    kind: decoder or encoder. dtype: name of a torch dtype. random_init: fresh weights of these sizes, drawn with
    `seed`, instead of the source's. where: the param that declares the source. Raises ModelError when `files` is not a
    model of this kind with a tokenizer that fits it and, of a decoder, a chat template. Returns the numbers of
    parameters and of tokens.
    """
    import torch
    from transformers.utils import logging

    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    _check_files(files, where)
    gguf = _gguf(files, where)
    if gguf and kind == "encoder":
        raise ModelError("an encoder is not read from GGUF", where=where, fix=SOURCES[kind])
    load = partial(_mapped, files=files, where=where, fix=SOURCES[kind])
    config = load(lambda: _load_config(files, gguf), "the config")
    tokenizer = load(lambda: _load_tokenizer(files, gguf, config.vocab_size), "the tokenizer")
    (_check_tokenizer if kind == "decoder" else _check_pieces)(tokenizer, where)
    if random_init:
        _resize(config, random_init, where)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if random_init:
            model = load(lambda: _fresh(config, kind), "a model of these sizes").to(getattr(torch, dtype))
        elif kind == "decoder":
            model = load(lambda: _load_model(files, gguf, config, getattr(torch, dtype)), "the weights")
        else:
            model = load(lambda: _load_encoder(files, config, getattr(torch, dtype)), "the weights")
    _check_fit(tokenizer, model, where)
    if kind == "decoder":
        load(lambda: _settle_tokens(model, tokenizer, files), "the generation config")
    model.save_pretrained(into)
    tokenizer.save_pretrained(into)
    _clean(into)
    return {"parameters": model.num_parameters(), "tokens": len(tokenizer)}


def _check_files(files: Path, where: str) -> None:
    """Refuse what would have transformers read weights other than those that `files` holds."""
    fix = "Take a source that holds the whole model: config.json, tokenizer and *.safetensors, or one GGUF file."
    if (files / "adapter_config.json").exists():
        raise ModelError("the source is an adapter, which names a base model elsewhere", where=where, fix=fix)
    for index in files.glob("*.safetensors.index.json"):
        try:
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError, TypeError):
            raise ModelError(f"{index.name} is no index of weights", where=where, fix=fix) from None
        here = {path.name for path in files.glob("*.safetensors")}
        if missing := sorted(str(shard) for shard in shards if shard not in here):
            raise ModelError(f"{index.name} names weights that the source lacks: {missing[0]!r}", where=where, fix=fix)


def _gguf(files: Path, where: str) -> str | None:
    """The name of the GGUF file, or None for a folder of safetensors."""
    config = (files / "config.json").is_file()
    if config and any(files.glob("*.safetensors")):
        return None
    found = sorted(path.relative_to(files).as_posix() for path in files.rglob("*.gguf"))
    if len(found) > 1:
        raise ModelError(
            f"there are {len(found)} GGUF files, such as {found[0]} and {found[1]}",
            where=where,
            fix="Name one in the uri.",
        )
    if not found and not config:
        raise ModelError(
            "the source has neither a GGUF file nor a config.json",
            where=where,
            fix="Name a GGUF file, or a folder with config.json, *.safetensors and the tokenizer's files.",
        )
    return found[0] if found else None


def _load_tokenizer(files: Path, gguf: str | None, tokens: int) -> Any:
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if gguf:  # what AutoTokenizer also gives, without reading the file's 50,000 tokens a second time
        return _without_invented(PreTrainedTokenizerFast.from_pretrained(files, gguf_file=gguf), tokens)
    return AutoTokenizer.from_pretrained(files, trust_remote_code=False, local_files_only=True)


def _without_invented(tokenizer: Any, tokens: int) -> Any:
    """Take out `<|endoftext|>` where a GGUF file has no such token (Llama 3): transformers adds it to every
    byte-level tokenizer, with a number that the embeddings do not have."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    known = [token for token in backend["added_tokens"] if token["id"] < tokens]
    if len(known) == len(backend["added_tokens"]):
        return tokenizer
    special = {
        name: token
        for name in ("bos_token", "eos_token", "unk_token", "pad_token")
        if (token := getattr(tokenizer, name)) and tokenizer.convert_tokens_to_ids(token) < tokens
    }
    rebuilt = Tokenizer.from_str(json.dumps(backend | {"added_tokens": known}))
    return PreTrainedTokenizerFast(tokenizer_object=rebuilt, chat_template=tokenizer.chat_template, **special)


def _load_config(files: Path, gguf: str | None) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(files, trust_remote_code=False, **({"gguf_file": gguf} if gguf else {}))


def _load_model(files: Path, gguf: str | None, config: Any, dtype: Any) -> Any:
    from transformers import AutoModelForCausalLM, GgufConfig

    how: dict[str, Any] = {"use_safetensors": True}
    if gguf:
        how = {"gguf_file": gguf, "quantization_config": GgufConfig(dequantize=True)}
    model, report = AutoModelForCausalLM.from_pretrained(
        files, config=config, dtype=dtype, trust_remote_code=False, output_loading_info=True, **how
    )
    if report["missing_keys"]:  # transformers would draw them at random and only warn
        raise ValueError(f"{len(report['missing_keys'])} are missing, such as {sorted(report['missing_keys'])[0]}")
    return model


def _load_encoder(files: Path, config: Any, dtype: Any) -> Any:
    """An encoder without a head. A pooler that the source lacks is drawn: it belongs to the head."""
    from transformers import AutoModel

    model, report = AutoModel.from_pretrained(
        files, config=config, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True
    )
    if lost := sorted(name for name in report["missing_keys"] if not name.startswith("pooler.")):
        raise ValueError(f"{len(lost)} are missing, such as {lost[0]}")
    return model


def _fresh(config: Any, kind: str) -> Any:
    import torch
    from transformers import AutoModel, AutoModelForCausalLM

    auto = AutoModelForCausalLM if kind == "decoder" else AutoModel
    return auto.from_config(config, dtype=torch.float32, trust_remote_code=False)


def _resize(config: Any, sizes: params.RandomInit, where: str) -> None:
    """Give `config` other sizes, and what follows from them."""
    if sizes.hidden_size % sizes.num_attention_heads or sizes.num_attention_heads % sizes.num_key_value_heads:
        raise ModelError(
            f"{sizes.hidden_size} dimensions, {sizes.num_attention_heads} heads and {sizes.num_key_value_heads} "
            "key-value heads do not divide one another",
            where=f"{where}.random_init",
            fix="Make hidden_size a multiple of num_attention_heads, and that of num_key_value_heads.",
        )
    for name, value in sizes.model_dump().items():
        if hasattr(config, name):
            setattr(config, name, value)
    if hasattr(config, "head_dim"):
        config.head_dim = sizes.hidden_size // sizes.num_attention_heads
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[: sizes.num_hidden_layers]


def _check_tokenizer(tokenizer: Any, where: str) -> None:
    from jinja2 import TemplateError

    fix = "Take an instruct model, whose tokenizer knows turns and their end."
    if not tokenizer.chat_template:
        raise ModelError("the tokenizer has no chat template", where=where, fix=fix)
    if tokenizer.eos_token_id is None:
        raise ModelError("the tokenizer has no end-of-sequence token", where=where, fix=fix)
    try:
        tokenizer.apply_chat_template([{"role": "user", "content": "x"}], add_generation_prompt=True)
    except (TemplateError, AttributeError, TypeError, ValueError, LookupError) as error:
        raise ModelError(f"the chat template fails ({error})", where=where, fix=fix) from None
    if tokenizer.pad_token_id is None:  # padding is masked, so any token will do
        tokenizer.pad_token = tokenizer.eos_token


def _check_pieces(tokenizer: Any, where: str) -> None:
    if not tokenizer.is_fast or tokenizer.pad_token_id is None:
        raise ModelError(
            "the tokenizer has no padding, or cannot tell which word a piece is of",
            where=where,
            fix="Take an encoder with tokenizer.json and a pad token, such as BERT's.",
        )


def _check_fit(tokenizer: Any, model: Any, where: str) -> None:
    rows, last = model.get_input_embeddings().num_embeddings, max(tokenizer.get_vocab().values())
    if last >= rows:
        raise ModelError(
            f"the tokenizer's tokens go up to {last}, the model's embeddings only to {rows - 1}",
            where=where,
            fix="Take weights and tokenizer from the same source.",
        )


def _settle_tokens(model: Any, tokenizer: Any, files: Path) -> None:
    """The generation config is the source's own, or says which tokens begin, end and pad."""
    from transformers import GenerationConfig

    if (files / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(files)
    else:
        model.generation_config = GenerationConfig(
            bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id
        )
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.config.pad_token_id = tokenizer.pad_token_id


def _clean(folder: Path) -> None:
    """Take out of the JSON files what depends on where they were made, and make all files readable alike."""
    for file in folder.iterdir():
        if file.name in ("config.json", "generation_config.json", "tokenizer_config.json"):
            content = json.loads(file.read_text(encoding="utf-8"))
            kept = {key: value for key, value in content.items() if key not in DROPPED}
            file.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        file.chmod(0o644)


def _mapped(load: Callable[[], Any], what: str, *, files: Path, where: str, fix: str) -> Any:
    """Run `load`; what transformers, tokenizers or safetensors raise becomes a ModelError of one line."""
    try:
        return load()
    except Exception as error:  # tokenizers raises plain Exception; each library has its own otherwise
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        if "trust_remote_code" in str(error):
            first = "it needs code of its own, which clew never runs"
        raise ModelError(
            f"{what} cannot be loaded ({first[:200].replace(f'{files}/', '')})",
            where=where,
            fix=fix,
        ) from error
