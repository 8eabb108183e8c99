"""Where and how a model computes: device, precision, attention, seeds; models and tokenizers read from a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clew.errors import ModelError, ParamsError, SetupError
from clew.training import adapters


@dataclass(frozen=True)
class Device:
    """name: cpu or cuda. precision: of matrix products, as torch names it. attention: as transformers names it."""

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

        if self.precision == "float32":
            return torch.autocast(self.name, enabled=False)
        return torch.autocast(self.name, dtype=getattr(torch, self.precision))


def pick(precision: str, attention: str = "auto") -> Device:
    """The GPU where there is one, else the CPU; `auto` is bfloat16 where the device has it in hardware.

    attention: as transformers names it; `auto` is flash_attention_2 where it can run, else sdpa. Raises SetupError for
    what this machine cannot do.
    """
    import torch

    name = "cuda" if torch.cuda.is_available() else "cpu"
    if precision == "auto":
        precision = "bfloat16" if _has_bfloat16(name) else "float32"
    if precision == "float16" and name == "cpu":
        raise SetupError(
            "there is no GPU, and float16 is trained and computed on GPUs only",
            where="precision: float16",
            fix="Set precision: auto in params.yaml.",
        )
    flash = _attention(name, precision)
    if attention == "flash_attention_2" and flash != attention:
        raise SetupError(
            "flash attention cannot run here: it wants a GPU, bfloat16 or float16, and the package flash-attn",
            where="attention: flash_attention_2",
            fix="Set attention: auto in params.yaml.",
        )
    return Device(name, precision, flash if attention == "auto" else attention)


def _has_bfloat16(name: str) -> bool:
    import torch

    if name == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Without these instructions a CPU computes bfloat16 by converting to and fro: slower than float32.
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)


def _attention(name: str, precision: str) -> str:
    from transformers.utils import is_flash_attn_2_available

    flash = name == "cuda" and precision in ("bfloat16", "float16") and is_flash_attn_2_available()
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
    """The causal language model of a folder (plain, int8, or with an adapter beside it), on `device`.

    train: the method. `full` holds the weights in float32, since steps of training are lost in bfloat16's 8 bits;
    `qlora` quantises them to 4 bits; adapters leave them, which are not trained, as they are stored. None holds them
    in `device.precision`, to be asked. Answers come from the model's probabilities alone: what its own
    generation_config.json asks for beside (repetition_penalty, suppress_tokens …) is left out.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    quantised = train == "qlora"
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        held = {"full": torch.float32, None: getattr(torch, device.precision)}
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=held.get(train, "auto"),
            attn_implementation=device.attention,
            quantization_config=nf4(device) if quantised else None,
            device_map={"": torch.cuda.current_device() if device.name == "cuda" else "cpu"} if quantised else None,
            use_safetensors=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"the model cannot be read ({_first_line(error)})",
            where=str(folder),
            fix="Run the stage that writes it again: `dvc repro`.",
        ) from None
    own = model.generation_config
    model.generation_config = GenerationConfig(
        bos_token_id=own.bos_token_id, eos_token_id=own.eos_token_id, pad_token_id=own.pad_token_id
    )
    if quantised:
        _keep_nf4(model)
    else:
        model = model.to(device.name)
    return adapters.attach(model, folder, train=train is not None) if adapters.is_in(folder) else model


def nf4(device: Device) -> Any:
    """How QLoRA stores the base: 4-bit normal floats, their scales quantised, too (Dettmers et al., 2023)."""
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, device.precision),
    )


def _keep_nf4(model: Any) -> None:
    """Keep bitsandbytes from repacking 4-bit weights for a CPU's bfloat16 when they are first asked without training.

    It rounds their scales on that occasion: what is trained would change with each measurement of the validation loss.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def check_fit(model: Any, tokenizer: Any, folder: Path) -> None:
    """Refuse a tokenizer with ids that the model has no embedding for."""
    rows, ids = model.get_input_embeddings().weight.shape[0], len(tokenizer)
    if ids > rows:
        raise ModelError(
            f"the tokenizer has {ids} tokens and the model only {rows} embeddings",
            where=str(folder),
            fix="Take the tokenizer and the weights from the same source in fetch_model.",
        )


def check_length(model: Any, max_length: int, where: str) -> None:
    """Refuse more tokens than the model has positions for. where: the param that says how many."""
    most = getattr(model.config, "max_position_embeddings", None) or max_length
    table: Any = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    if getattr(table, "padding_idx", None) is not None:  # RoBERTa counts positions from behind the padding's
        most -= table.padding_idx + 1
    if max_length > most:
        raise ParamsError(
            f"the model reads {most} tokens at most, not {max_length}", where=where, fix=f"Set it to {most} or less."
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
