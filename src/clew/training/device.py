"""Where and how a model computes: device, precision, attention, seeds; models and tokenizers read from a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clew.errors import ModelError, SetupError


@dataclass(frozen=True)
class Device:
    """name: cpu or cuda. precision: of matrix products, float32 or bfloat16. attention: as transformers names it."""

    name: str
    precision: str
    attention: str

    def facts(self) -> dict[str, Any]:
        """What to record in metrics/runtime: volatile, as it depends on the machine."""
        import torch

        gpu = torch.cuda.get_device_name() if self.name == "cuda" else None
        return {**asdict(self), "gpu": gpu, "threads": torch.get_num_threads()}

    def autocast(self) -> AbstractContextManager[Any]:
        """Matrix products in `precision`; sums, norms and softmax stay in float32."""
        import torch

        return torch.autocast(self.name, dtype=torch.bfloat16, enabled=self.precision == "bfloat16")


def pick(precision: str) -> Device:
    """The GPU where there is one, else the CPU; `auto` is bfloat16 where the device has it in hardware."""
    import torch

    name = "cuda" if torch.cuda.is_available() else "cpu"
    if precision == "auto":
        precision = "bfloat16" if _has_bfloat16(name) else "float32"
    return Device(name, precision, _attention(name, precision))


def _has_bfloat16(name: str) -> bool:
    import torch

    if name == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Without these instructions a CPU computes bfloat16 by converting to and fro: slower than float32.
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)


def _attention(name: str, precision: str) -> str:
    from transformers.utils import is_flash_attn_2_available

    flash = name == "cuda" and precision == "bfloat16" and is_flash_attn_2_available()
    return "flash_attention_2" if flash else "sdpa"


def make_deterministic(seed: int) -> None:
    """Seed Python, numpy and torch, and ask torch for the same result each time (it warns where it has no such way)."""
    import torch
    from transformers import set_seed

    set_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # A debugging aid that costs a pass over each new buffer.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model folder, checked to have a chat template, a stop token and padding."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"the tokenizer cannot be read ({_first_line(error)})", where=str(folder), fix="Run fetch_model again."
        ) from None
    if not tokenizer.chat_template:
        raise ModelError(
            "the tokenizer has no chat template",
            where=str(folder),
            fix="Choose an instruct model, or add chat_template.jinja to the model's files.",
        )
    if tokenizer.eos_token_id is None:
        raise ModelError(
            "the tokenizer has no stop token",
            where=str(folder),
            fix="Set eos_token in the model's tokenizer_config.json.",
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(folder: Path, device: Device, *, train: str | None = None) -> Any:
    """The causal language model of a folder (plain or int8), on `device`.

    train: `full` holds the weights in float32, since steps of training are lost in bfloat16's 8 bits; `lora` leaves
    them, which are not trained, as they are stored; None holds them in `device.precision`.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        held = {"full": torch.float32, "lora": "auto", None: getattr(torch, device.precision)}
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=held[train],
            attn_implementation=device.attention,
            use_safetensors=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"the model cannot be read ({_first_line(error)})",
            where=str(folder),
            fix="Run the stage that writes it again: `dvc repro`.",
        ) from None
    return model.to(device.name)


def check_fit(model: Any, tokenizer: Any, folder: Path) -> None:
    """Refuse a tokenizer with ids that the model has no embedding for."""
    rows, ids = model.get_input_embeddings().weight.shape[0], len(tokenizer)
    if ids > rows:
        raise ModelError(
            f"the tokenizer has {ids} tokens and the model only {rows} embeddings",
            where=str(folder),
            fix="Take the tokenizer and the weights from the same source in fetch_model.",
        )


@contextmanager
def memory_advice(*names: str) -> Iterator[None]:
    """Turn running out of memory into an error that names the params to lower."""
    import torch

    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        other = not isinstance(error, torch.OutOfMemoryError | MemoryError)
        if other and "can't allocate memory" not in str(error):  # how torch says it on a CPU
            raise
        where = "GPU memory" if torch.cuda.is_available() else "memory"
        raise SetupError("out of memory", where=where, fix=f"Lower {' or '.join(names)} in params.yaml.") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
