"""The command `clew`: a table of its commands, and the one place where errors become words."""

from __future__ import annotations

import errno
import sys
from collections.abc import Mapping
from io import TextIOWrapper

from clew.cli import garbage
from clew.cli.groups import Group, Later, Root
from clew.errors import ClewError

NEARLY_NOTHING = 64 << 20  # bytes free: less than what torch failed to write

# Where a command is, and the first sentence of its help: nothing of it is imported until it is asked for.
COMMANDS = {
    "stage": ("clew.cli.stage:stage", "Run one stage of the pipeline; `dvc repro` calls this."),
    "trace": (
        "clew.cli.trace:trace",
        "Follow a thing back to raw files, base model, params, code and machine, by hash; or on to all that used it.",
    ),
    "compare": (
        "clew.cli.compare:compare",
        "Show what was asked, what went in, what code changed, what came out, and which change reaches which number.",
    ),
    "plan": (
        "clew.cli.plan:plan",
        "Tell which stages would run and why, and what training would take: tokens, steps, memory, time, disk.",
    ),
    "diff-data": (
        "clew.cli.diff_data:diff_data",
        "Show how the data of two revisions differs: sources, rows in and out, labels, weights, decisions by rule.",
    ),
    "log": (
        "clew.cli.log:log",
        "Show the experiments of all branches, tags and experiments: one line a commit that changed a metric or a"
        " param.",
    ),
    "best": (
        "clew.cli.log:best",
        "Show the commits with the best value of a metric; ≈ marks those within the best one's interval.",
    ),
}
PARAMS = {
    "check": (
        "clew.cli.params:check",
        "Check a params file and list every problem, with its line and the nearest valid name.",
    ),
    "schema": ("clew.cli.params:schema", "Print the JSON Schema of params.yaml, for editors."),
    "docs": ("clew.cli.params:docs", "Print what each key of params.yaml means and may be, as Markdown."),
    "list": (
        "clew.cli.ready:listed",
        "List the ready experiments: the files in params/, with what each is; * is the one in params.yaml.",
    ),
    "use": ("clew.cli.ready:use", "Write a ready experiment of params/ as params.yaml."),
}
ROWS = {
    "key": (
        "clew.cli.rows:key",
        "Make a secret key for row ids and print its fingerprint, to be named as prepare.row_key.",
    ),
    "trace": (
        "clew.cli.rows:trace",
        "Tell a row's biography: its origin, what each stage decided and why, which models it trained, in every"
        " commit.",
    ),
    "explain": (
        "clew.cli.rows_cleaned:explain",
        "Tell one row's story in the data that lies here: every finding, score, threshold and margin.",
    ),
    "flips": (
        "clew.cli.rows_cleaned:flips",
        "Tell how many and which rows another threshold of a cleaning rule would flip, without running anything.",
    ),
    "of": (
        "clew.cli.rows:of",
        "List the rows that a model was made from: row id, source, file, record, task, one a line.",
    ),
}
REVIEW = {
    "export": ("clew.cli.review:export", "Write the rows that wait for a decision as JSON lines, to be edited."),
    "import": (
        "clew.cli.review:admit",
        "Take decisions into data/review/decisions/, where git keeps them and the next `dvc repro` honours them.",
    ),
}
MERGE_DRIVER = {
    "install": (
        "clew.cli.merge_driver:install",
        "Install the driver for this repository: a line in .gitattributes (commit it) and one in this clone's git"
        " config.",
    ),
    "run": (
        "clew.cli.merge_driver:run",
        "Merge dvc.lock for git: `ours` becomes the merged file; exit code 1 where stages must run again.",
    ),
}


def _group(name: str, table: Mapping[str, tuple[str, str]], line: str) -> Group:
    return Group(name, [Later(command, *told) for command, told in table.items()], help=line)


app = Root(
    "clew",
    [
        *(Later(name, *told) for name, told in COMMANDS.items()),
        _group("params", PARAMS, "Check params.yaml, print its schema, or take a ready one."),
        _group("rows", ROWS, "Row identities, a row's biography, a model's rows."),
        _group("review", REVIEW, "Rows that cleaning rules want a person to decide about."),
        _group("merge-driver", MERGE_DRIVER, "Merge dvc.lock stage by stage instead of line by line."),
    ],
    help="Fine-tune language models declaratively, on git and DVC, and keep the thread.\n\n"
    "Edit params.yaml, run `dvc repro`, commit, compare.",
    context_settings={"show_default": True},
)


def main() -> None:
    """Run the command line; what the user can mend is one line on stderr and exit code 1."""
    garbage.look_rarely()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # what a terminal's encoding or UTF-8 lacks is written as its code
            stream.reconfigure(errors="backslashreplace")
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
    return torch_failed_to_write and _bytes_free() < NEARLY_NOTHING


def _bytes_free() -> int:
    import shutil

    return shutil.disk_usage(".").free
