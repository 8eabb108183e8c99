"""The command `clew`, and the one place where errors become words."""

from __future__ import annotations

import errno
import shutil
import sys

import typer

from clew.cli import compare, diff_data, log, merge_driver, params, rows, stage, trace
from clew.errors import ClewError

NEARLY_NOTHING = 64 << 20  # bytes free: less than what torch failed to write

app = typer.Typer(
    name="clew",
    help="Fine-tune language models declaratively, on git and DVC, and keep the thread.\n\n"
    "Edit params.yaml, run `dvc repro`, commit, compare.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(params.app, name="params")
app.add_typer(rows.app, name="rows")
app.command(name="stage")(stage.stage)
app.command(name="trace")(trace.trace)
app.command(name="compare")(compare.compare)
app.command(name="diff-data")(diff_data.diff_data)
app.add_typer(merge_driver.app, name="merge-driver")
app.command(name="log")(log.log)
app.command(name="best")(log.best)


def main() -> None:
    """Run the command line; what the user can mend is one line on stderr and exit code 1."""
    try:
        app()
    except ClewError as error:
        sys.exit(f"clew: error: {error}")
    except Exception as error:
        if not _disk_is_full(error):
            raise
        sys.exit(
            f"clew: error: {getattr(error, 'filename', None) or 'disk'}: no space left on the device. Free some space"
            " (`dvc gc -w` drops cached files that this work tree does not use), then run `dvc repro` again:"
            " nothing half-written was kept."
        )


def _disk_is_full(error: Exception) -> bool:
    """Also where a library says so in its own exception: safetensors ("os error 28"), torch's archive writer."""
    numbers = (errno.ENOSPC, errno.EDQUOT)
    if getattr(error, "errno", None) in numbers or any(f"(os error {number})" in str(error) for number in numbers):
        return True
    torch_failed_to_write = isinstance(error, RuntimeError) and "inline_container" in str(error)
    return torch_failed_to_write and shutil.disk_usage(".").free < NEARLY_NOTHING
