"""Classifiers that you bring, as transformers saves them: config.json, model.safetensors, tokenizer.json.

A pickled classifier (scikit-learn, .bin) is not opened: whoever made it could run anything here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clew.errors import ModelError


def labels(folder: Path, param: str) -> list[str]:
    """The classes of a classifier, in the order of its outputs; raises ModelError where there is none."""
    _must_be_there(folder, param)
    from transformers import AutoConfig

    try:
        by_number = AutoConfig.from_pretrained(folder, trust_remote_code=False).id2label
    except (OSError, ValueError, KeyError) as error:
        raise _unreadable(folder, param, error) from None
    return [str(by_number[number]) for number in sorted(by_number)]


def load(folder: Path, kind: Any, param: str) -> tuple[Any, Any]:
    """The model, ready to be asked, on the GPU where there is one, and its tokenizer.

    kind: such as transformers.AutoModelForSequenceClassification. Raises ModelError where the folder does not hold one,
    or one of which weights are missing.
    """
    import torch
    from transformers import AutoTokenizer

    _must_be_there(folder, param)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model, loading = kind.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    except (OSError, ValueError, KeyError) as error:
        raise _unreadable(folder, param, error) from None
    if loading["missing_keys"]:
        lacks = ", ".join(sorted(loading["missing_keys"])[:3])
        raise ModelError(
            f"this model was not trained to classify: it lacks {lacks}", where=str(folder), fix=_fix(param)
        )
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def longest(model: Any, tokenizer: Any) -> int:
    """Tokens that the model reads at most. Two positions less than it has: RoBERTa's kind keeps two for padding."""
    positions = getattr(model.config, "max_position_embeddings", None)
    limits = [tokenizer.model_max_length, *([positions - 2] if positions else [])]
    return int(min(limits))


def _must_be_there(folder: Path, param: str) -> None:
    if not (folder / "config.json").is_file():
        raise ModelError("there is no classifier (config.json)", where=str(folder), fix=_fix(param))


def _unreadable(folder: Path, param: str, error: Exception) -> ModelError:
    said = (str(error).splitlines() or [type(error).__name__])[0][:160]
    return ModelError(f"the classifier cannot be read ({said})", where=str(folder), fix=_fix(param))


def _fix(param: str) -> str:
    return f"The source that {param} names wants config.json, model.safetensors and tokenizer.json."
