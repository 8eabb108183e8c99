"""fetch_model: bring the base model to models/base as safetensors and tokenizer, a decoder's with its chat template.

Nothing of it is run. The source is a GGUF file or a folder of safetensors; `random_init` draws fresh, smaller weights
instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clew import base_model, io, paths, sources

if TYPE_CHECKING:
    from clew import params

WHERE = "fetch_model"


def run(fetch_model: params.FetchModel, model: params.Model, seed: int) -> dict[str, Any]:
    """Fetch and convert. Returns what came (files, bytes, whether from the cache) and the model's size."""
    with io.replace_folder(paths.BASE) as base, io.scratch_folder(paths.BASE) as scratch:
        files = scratch / "source"
        files.mkdir()
        came = sources.fetch(fetch_model, files, WHERE)
        size = base_model.convert(
            files,
            base,
            dtype=fetch_model.dtype,
            random_init=fetch_model.random_init,
            kind=model.kind,
            seed=seed,
            where=WHERE,
        )
    return {"source": came._asdict(), **size}
