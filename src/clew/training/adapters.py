"""Adapters: a few weights beside a frozen model, trained instead of it (PEFT), merged into it or kept beside it.

models/sft/  model.safetensors …                                       merged: a model like any other
models/sft/  model.safetensors …  adapter/adapter_model.safetensors …  not merged: the base, and what was trained
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clew.errors import ModelError, ParamsError

if TYPE_CHECKING:
    from clew import params

FOLDER = "adapter"  # below a model's folder


def is_in(folder: Path) -> bool:
    """Whether a model's folder holds an adapter that is not merged."""
    return (folder / FOLDER).is_dir()


def adapter(section: params.Optimisation, model: Any, where: str, task_type: str = "CAUSAL_LM") -> Any:
    """PEFT's configuration of the adapter to train; None for `full`, and for a model that has its adapter already.

    model: of a decoder, or of an encoder with a head. where: the section's name, for errors. task_type: as
    peft.TaskType names it; the head of SEQ_CLS and TOKEN_CLS is trained beside the adapter. Raises ParamsError where
    the model has no such modules.
    """
    import peft

    if isinstance(model, peft.PeftModel):
        return _goes_on(section, model, where)
    if section.method in ("lora", "qlora") and section.lora is not None:
        _check_modules(model, section.lora.target_modules, f"{where}.lora.target_modules")
        pattern, layers = _layers(model)
        last = min(section.lora.last_layers, layers)
        return peft.LoraConfig(
            task_type=task_type,
            r=section.lora.rank,
            lora_alpha=section.lora.alpha,
            lora_dropout=section.lora.dropout,
            use_rslora=section.lora.rslora,
            use_dora=section.lora.dora,
            target_modules=list(section.lora.target_modules),
            layers_to_transform=list(range(layers - last, layers)),
            layers_pattern=pattern,
        )
    if section.method == "ia3" and section.ia3 is not None:
        _check_modules(model, section.ia3.target_modules, f"{where}.ia3.target_modules")
        return peft.IA3Config(
            task_type=task_type,
            target_modules=list(section.ia3.target_modules),
            feedforward_modules=list(section.ia3.feedforward_modules),
        )
    if section.method == "prompt" and section.prompt is not None:
        return peft.PromptTuningConfig(
            task_type=task_type,
            num_virtual_tokens=section.prompt.tokens,
            prompt_tuning_init="SAMPLE_VOCAB" if section.prompt.text is None else "TEXT",
            prompt_tuning_init_text=section.prompt.text,
            tokenizer_name_or_path=None if section.prompt.text is None else model.name_or_path,
        )
    if section.method == "prefix" and section.prefix is not None:
        return peft.PrefixTuningConfig(task_type=task_type, num_virtual_tokens=section.prefix.tokens)
    return None


def _goes_on(section: params.Optimisation, model: Any, where: str) -> None:
    """A model that came with its prompt or prefix goes on with that one: PEFT puts no other adapter on it."""
    found = {"PROMPT_TUNING": "prompt", "PREFIX_TUNING": "prefix"}[model.active_peft_config.peft_type.value]
    if section.method != found:
        raise ParamsError(
            f"the model that it starts from has a {found}, and no {section.method} can be trained beside it",
            where=f"{where}.method",
            fix=f"Set it to {found}, or train the model before it with another method.",
        )


def _layers(model: Any) -> tuple[str, int]:
    """The name of the list of layers (`layers`, in BERT `layer`, in GPT-2 `h`), and how many there are."""
    from torch.nn import ModuleList

    count = model.config.get_text_config().num_hidden_layers
    for name, module in model.named_modules():
        if isinstance(module, ModuleList) and len(module) == count:
            return name.rpartition(".")[2], count
    raise ModelError(
        "the model has no list of layers", where=str(model.name_or_path), fix="Take method: full for this architecture."
    )


def _check_modules(model: Any, wanted: tuple[str, ...], where: str) -> None:
    pattern, _ = _layers(model)
    names = {name.rpartition(".")[2] for name, _ in model.named_modules() if f".{pattern}." in f".{name}"}
    unknown = [module for module in wanted if module not in names]
    if unknown:
        linear = sorted(
            name for name in names if name.endswith(("_proj", "dense", "fc1", "fc2", "query", "key", "value"))
        )
        raise ParamsError(
            f"the model's layers have no {', '.join(unknown)}",
            where=where,
            fix=f"They have: {', '.join(linear) or ', '.join(sorted(names))}.",
        )


def make_ready(model: Any) -> tuple[int, int]:
    """Set straight what TRL did to a model that it is about to train; the numbers of trained and of all parameters.

    Trained weights are held in float32: TRL puts QLoRA's into bfloat16, in whose 8 bits small steps are lost. The copy
    of a prompt or prefix that DPO compares with is not trained.
    """
    trained = every = 0
    for name, parameter in model.named_parameters():
        if ".ref." in name:
            parameter.requires_grad_(False)
            continue
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
        size = parameter.numel() * (2 if type(parameter).__name__ == "Params4bit" else 1)  # two to a byte
        trained, every = trained + size * parameter.requires_grad, every + size
    return trained, every


def write(model: Any, target: Path) -> None:
    """Write a PeftModel's adapter as the folder `target`: the same bytes each time, naming no other folder."""
    model.save_pretrained(target)
    (target / "README.md").unlink(missing_ok=True)
    path = target / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for name, value in config.items():
        if isinstance(value, list) and name.endswith("_modules"):
            config[name] = sorted(value)  # PEFT keeps a set
    config["base_model_name_or_path"] = None
    if "prompt_tuning_init" in config:  # begun long since, and the text's tokenizer is the base's
        config |= {"prompt_tuning_init": "RANDOM", "prompt_tuning_init_text": None, "tokenizer_name_or_path": None}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for file in target.iterdir():  # safetensors makes files for their owner alone
        file.chmod(0o644)


def attach(model: Any, folder: Path, *, train: bool) -> Any:
    """The model of a folder with the folder's adapter.

    train: LoRA and IA3 are merged, in float32, to train on from there; a prompt or prefix is trained on itself. Else
    LoRA and IA3 compute beside the weights, and a prompt or prefix stands before whatever is asked (`make_prefixed`).
    """
    from peft import PeftConfig, PeftModel, get_peft_model, load_peft_weights, set_peft_model_state_dict

    kept = str(folder / FOLDER)
    config = PeftConfig.from_pretrained(kept)
    if config.is_prompt_learning and train:  # PEFT loads these to be asked only
        config.inference_mode = False
        found = get_peft_model(model, config)
        set_peft_model_state_dict(found, load_peft_weights(kept, device="cpu"))
        return found
    found = PeftModel.from_pretrained(model, kept)
    if config.is_prompt_learning:
        return make_prefixed(found)
    if not train:
        return found
    stored = model.dtype
    return found.float().merge_and_unload(safe_merge=True).to(stored)


def make_prefixed(model: Any) -> Any:
    """A PeftModel of a prompt or prefix as a model that is asked like one without: any mask, any positions.

    PEFT's own forward drops positions and knows no mask but one of padding. But nothing in front depends on what
    follows it, so the keys and values of the virtual tokens are computed once, and stand in the cache before each
    question: its mask gets a column for each of them and its positions begin after them.
    """
    import torch

    class Prefixed(torch.nn.Module):
        """See `make_prefixed`; `forward` and `generate` take what a causal language model's do."""

        def __init__(self) -> None:
            super().__init__()
            self.peft = model
            self.base = model.get_base_model()
            self.config = self.base.config
            self.tokens = model.active_peft_config.num_virtual_tokens
            self.cache: Any = None

        @property
        def device(self) -> Any:
            return self.base.device

        @property
        def dtype(self) -> Any:
            return self.base.dtype

        def get_input_embeddings(self) -> Any:
            return self.base.get_input_embeddings()

        def first(self, rows: int) -> Any:
            """A cache of `rows` rows that holds the virtual tokens."""
            if self.cache is None:
                with torch.no_grad():
                    found = self.peft.get_prompt(1)
                    if torch.is_tensor(found):
                        embedded = found.to(self.dtype)
                        found = self.base(inputs_embeds=embedded, use_cache=True, logits_to_keep=1).past_key_values
                self.cache = found
            cache = copy.deepcopy(self.cache)
            if rows > 1:
                cache.batch_repeat_interleave(rows)
            return cache

        def forward(
            self,
            input_ids: Any,
            attention_mask: Any = None,
            position_ids: Any = None,
            past_key_values: Any = None,
            use_cache: bool = False,
            logits_to_keep: Any = 0,
        ) -> Any:
            """input_ids: (rows, new). attention_mask: (rows, all) or (rows, 1, new, all); all: cached and new ones."""
            rows, new = input_ids.shape
            cached = 0 if past_key_values is None else past_key_values.get_seq_length()
            if not cached:
                past_key_values = self.first(rows)
            behind = max(cached - self.tokens, 0)
            if attention_mask is None:
                attention_mask = torch.ones(rows, behind + new, dtype=torch.long, device=input_ids.device)
            if position_ids is None:
                position_ids = torch.arange(behind, behind + new, device=input_ids.device).expand(rows, -1)
                if attention_mask.dim() == 2:
                    position_ids = (attention_mask.cumsum(-1) - 1).clamp(min=0)[:, -new:]
            if attention_mask.dtype.is_floating_point:  # zero is to see, as it is added
                front = attention_mask.new_zeros(*attention_mask.shape[:-1], self.tokens)
            else:
                front = attention_mask.new_ones(*attention_mask.shape[:-1], self.tokens)
            return self.base(
                input_ids=input_ids,
                attention_mask=torch.cat((front, attention_mask), dim=-1),
                position_ids=position_ids + self.tokens,
                past_key_values=past_key_values,
                use_cache=use_cache,
                logits_to_keep=logits_to_keep,
            )

        def generate(self, input_ids: Any, attention_mask: Any, generation_config: Any) -> Any:
            """As transformers' own: (rows, prompt) → (rows, prompt and answer)."""
            front = input_ids.new_zeros(len(input_ids), self.tokens)  # in the cache already, so never looked at
            written = self.base.generate(
                input_ids=torch.cat((front, input_ids), dim=1),
                attention_mask=torch.cat((torch.ones_like(front), attention_mask), dim=1),
                past_key_values=self.first(len(input_ids)),
                generation_config=generation_config,
            )
            return written[:, self.tokens :]

    return Prefixed().eval()
