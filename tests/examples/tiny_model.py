"""A model folder small enough to train in a test: two layers of random weights and one token for each byte."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clew import params

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DECODER = params.Model(kind="decoder")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LORA = {
    "rank": 4,
    "alpha": 8,
    "dropout": 0.1,
    "rslora": False,
    "dora": False,
    "target_modules": ("q_proj", "up_proj"),
    "last_layers": 1,
}
OPTIMISATION = {
    "method": "lora",
    "lora": LORA,
    "ia3": None,
    "prompt": None,
    "prefix": None,
    "merge": True,
    "optimizer": "adamw",
    "learning_rate": 0.01,
    "schedule": "linear",
    "warmup": 0.1,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "batch_size": 4,
    "micro_batch_size": 2,
    "epochs": 2,
    "max_length": 96,
    "precision": "float32",
    "attention": "auto",
    "gradient_checkpointing": False,
    "liger": False,
    "launch": None,
    "checkpoint_steps": 2,
    "divergence": None,
}


ALIGNMENT = {"enabled": True, "algorithm": "dpo", "tasks": ("stress",), "rows": 8}
DPO = {"loss": "sigmoid", "beta": 0.1, "label_smoothing": 0.0, "row_weights": False}
ONLINE = {
    "generations": 2,
    "max_new_tokens": 6,
    "temperature": 1.0,
    "beta": 0.05,
    "epsilon": 0.2,
    "hacking": {"steps": 2, "length": 1.5, "repetition": 0.2, "distinct": 0.2, "kl": 1.0},
}


def write_tokenizer(folder: Path, *, template: str | None = TEMPLATE, eos: str | None = "<|im_end|>") -> None:
    """A byte-level tokenizer without merges: 256 bytes and three special tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=eos, pad_token=eos)
    fast.chat_template = template
    fast.save_pretrained(folder)


def write_model(folder: Path, *, vocabulary: int = 259, dtype: str = "float32", seed: int = 0, **shape: int) -> None:
    """A Llama of two layers, width 32, with tied embeddings."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    } | shape
    config = LlamaConfig(
        vocab_size=vocabulary,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        eos_token_id=min(258, vocabulary - 1),
        pad_token_id=min(258, vocabulary - 1),
        bos_token_id=min(257, vocabulary - 1),
        **sizes,
    )
    LlamaForCausalLM(config).to(getattr(torch, dtype)).save_pretrained(folder)


def write(folder: Path) -> Path:
    """Tokenizer and model; returns the folder."""
    write_tokenizer(folder)
    write_model(folder)
    return folder


def row(
    number: int, completion: str = "yes", *, task: str = "stress", text: str = "", **changes: Any
) -> dict[str, Any]:
    """A row of the schema, its choices yes and no."""
    text = text or "I cannot sleep " * (number % 3) + f"day {number}"
    return {
        "row_id": f"{number:064x}",
        "source": "posts",
        "origin": {"file": "posts.jsonl", "record": number},
        "task": task,
        "messages": [{"role": "user", "content": f"{text} Stressed?"}],
        "text": text,
        "completion": completion,
        "label": completion,
        "choices": ["yes", "no"],
        "rejected": {"yes": "no", "no": "yes"}.get(completion),
        "groups": {},
        "annotations": None,
        "tokens": None,
        "tags": None,
        "labels": None,
        "weight": 1.0,
        "parent_ids": [],
    } | changes


def rows(count: int, first: int = 0) -> list[dict[str, Any]]:
    """Rows of different lengths, yes and no in turn."""
    return [row(number, "yes" if number % 2 else "no") for number in range(first, first + count)]


def sft_params(**changes: Any) -> params.Sft:
    """A section for the tiny model."""
    return params.Sft(**{**OPTIMISATION, "packing": "none", "eval_steps": 2, "patience": 3, **changes})


def align_params(**changes: Any) -> params.Align:
    """A section for the tiny model."""
    own = dict.fromkeys(("held_out", "dpo", "kto", "rloo", "grpo"))
    return params.Align(**{**OPTIMISATION, **own, "dpo": DPO, **ALIGNMENT, **changes})


def online_params(algorithm: str, *, rewards: Sequence[dict[str, Any]], **changes: Any) -> params.Align:
    """A section of rloo or grpo for the tiny model."""
    more = {"loss": "dapo", "scale_rewards": "group"} if algorithm == "grpo" else {"normalize_advantages": False}
    own = {"dpo": None, "algorithm": algorithm, algorithm: {**ONLINE, "rewards": tuple(rewards), **more}}
    return align_params(**{"lora": {**LORA, "dropout": 0.0}, **own, **changes})


def reward_params(**changes: Any) -> params.Reward:
    """A section for the tiny model."""
    own = {"enabled": True, "tasks": ("stress",), "rows": 8, "center": 0.0, "bins": 5}
    return params.Reward(**{**OPTIMISATION, **own, "resamples": 200, "confidence": 0.95, **changes})
