"""augment: data/selected.parquet → data/augmented.parquet; `enabled: false` passes the rows on as they are.

Switched off, no row is decided about.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from clew import io, ledger, paths

if TYPE_CHECKING:
    from clew import params


def run(augment: params.Augment) -> dict[str, Any]:  # noqa: ARG001
    """Add rows made of rows of train."""
    with io.replace_file(paths.AUGMENTED) as aside:
        shutil.copyfile(paths.SELECTED, aside)
    ledger.write("augment", [], rows_in=0, rows_out=0)
    io.write_json(paths.AUGMENT_METRICS, {"enabled": False})
    return {}
