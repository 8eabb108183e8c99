"""select: data/splits/train.parquet → data/selected.parquet; `enabled: false` passes the rows on as they are.

Switched off, no row is decided about.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from clew import io, ledger, paths

if TYPE_CHECKING:
    from clew import params


def run(select: params.Select) -> dict[str, Any]:  # noqa: ARG001
    """Keep the best rows of train."""
    with io.replace_file(paths.SELECTED) as aside:
        shutil.copyfile(paths.SPLITS / "train.parquet", aside)
    ledger.write("select", [], rows_in=0, rows_out=0)
    io.write_json(paths.SELECT_METRICS, {"enabled": False})
    return {}
