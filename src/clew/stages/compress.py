"""compress: models/aligned → models/<method>/, smaller on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clew import io, paths
from clew.compression import int8
from clew.errors import ModelError
from clew.training import adapters

if TYPE_CHECKING:
    from clew import params


def run(compress: params.Compress, item: str) -> dict[str, Any]:
    """Write one compressed variant; refuse one that is not smaller."""
    target = paths.MODELS / item
    if adapters.is_in(paths.ALIGNED):
        raise ModelError(
            "the model has an adapter beside it, and only whole models are compressed",
            where=str(paths.ALIGNED / adapters.FOLDER),
            fix="Set merge: true where it was trained, or compress.methods: [].",
        )
    with io.replace_folder(target) as aside:
        int8.compress(paths.ALIGNED, aside, compress.int8.activations)
        before, after = io.tree_size(paths.ALIGNED), io.tree_size(aside)
        if after >= before:
            raise ModelError(
                f"the compressed model is not smaller ({after:,} bytes against {before:,})",
                where=str(target),
                fix=f"Take {item} out of compress.methods for this model.",
            )
    return {"bytes": after, "bytes_before": before}
