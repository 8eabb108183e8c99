"""clew compare: two revisions or many in one view."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from clew.history.compare.model import View


@click.command
@click.argument(
    "revisions",
    nargs=-1,
    help="Branches, tags, commits, experiments, or `.` for the work tree; the first is the baseline.",
)
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
@click.option("--md", "as_markdown", is_flag=True, help="Markdown, for a pull request.")
@click.option("--html", type=Path, metavar="FILE", help="Write a page with pictures to this file.")
@click.option("--no-tests", is_flag=True, help="Skip the paired tests: no verdicts.")
@click.option(
    "--fail-if-worse",
    multiple=True,
    metavar="METRIC",
    help="Exit with 1 if shown to be worse: `stress.f1`, `f1@aligned`, `*`.",
)
def compare(
    revisions: Sequence[str],
    as_json: bool,
    as_markdown: bool,
    html: Path | None,
    no_tests: bool,
    fail_if_worse: Sequence[str],
) -> None:
    """Show what was asked, what went in, what code changed, what came out, and which change reaches which number.

    Without revisions: the work tree with its branch's fork from main. With one: the work tree with that one.
    Better and worse are said only of what paired tests on the same rows show, Holm-corrected over the whole view.

    Example: clew compare main lora-16 --fail-if-worse stress.f1@aligned
    """
    if as_json and as_markdown:
        raise click.BadParameter("choose one of --json and --md")
    if fail_if_worse and no_tests:
        raise click.BadParameter("--fail-if-worse needs the tests that --no-tests skips")
    if html is not None and os.path.isdir(html):  # noqa: PTH112 - Path raises an error for a name that is too long
        from clew.errors import SetupError

        raise SetupError(
            "it is a folder", where=f"--html {html}", fix=f"Name a file: `--html {html / 'compare.html'}`."
        )
    from clew.history import repository
    from clew.history.compare import view as views

    view = views.compare(repository.open_repository(Path.cwd()), list(revisions), tests=not no_tests)
    if fail_if_worse:
        _check_baseline(view)
    worse = _worse(view, fail_if_worse)  # first: a name that means nothing is told before pages of output
    _write(view, as_json=as_json, as_markdown=as_markdown, html=html)
    if worse:
        sys.exit(1)


def _check_baseline(view: View) -> None:
    """Raises HistoryError where the baseline is not the one that was meant: with it nothing would be worse."""
    from clew.errors import HistoryError
    from clew.history.compare import revisions

    for note in view.notes:
        if note.endswith(revisions.NO_FORK):
            raise HistoryError(note, where="--fail-if-worse", fix="Name the baseline: `clew compare REVISION …`.")


def _write(view: View, *, as_json: bool, as_markdown: bool, html: Path | None) -> None:
    from clew.history import blocks

    if html is not None:
        from clew import io
        from clew.history.compare import page

        text = blocks.whole(page.render(view))
        try:
            with io.replace_file(html) as aside:
                aside.write_text(text, encoding="utf-8")
        except OSError as error:
            from clew.errors import SetupError

            why = f"it cannot be written ({error.strerror or error})"
            raise SetupError(why, where=f"--html {html}", fix="Name another file.") from None
    if as_json:
        from clew.history.compare import as_json as writer

        click.echo(blocks.whole(writer.write(view)))
    elif as_markdown:
        from clew.history.compare import markdown

        click.echo(blocks.whole(markdown.write(view)))
    elif html is None:
        from clew.history.compare import terminal

        terminal.show(view)
    else:
        click.echo(f"wrote {click.format_filename(html)}")


def _worse(view: View, wanted: Sequence[str]) -> bool:
    """Whether any of the wanted numbers is shown to be worse; says on stderr which, and which could not be judged."""
    from clew.errors import HistoryError
    from clew.history.compare import selectors

    try:
        found = selectors.select(view, wanted)
    except HistoryError as error:
        raise click.BadParameter(str(error)) from None
    for name, number in found:
        if number.verdict is None:
            click.echo(f"clew: not judged: {number.name}@{number.variant} of {name}: {number.reason}", err=True)
    worse = [(name, number) for name, number in found if number.verdict == "worse"]
    for name, number in worse:
        click.echo(f"clew: worse: {number.name}@{number.variant} of {name}", err=True)
    return bool(worse)
