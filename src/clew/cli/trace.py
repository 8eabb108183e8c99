"""clew trace: where a thing came from, or what came of it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from clew.errors import HistoryError


@click.command
@click.argument("thing", help="A path, a metric (FILE:task.metric@variant), an MD5 or SHA-256, or a file on disk.")
@click.option("--rev", metavar="REV", help="A branch, tag, commit or experiment; default: the work tree.")
@click.option("--down", is_flag=True, help="What used it, in all of the history.")
@click.option("--json", "as_json", is_flag=True, help="Everything, for programs.")
@click.option("--mermaid", is_flag=True, help="A Mermaid flowchart.")
@click.option("--dot", is_flag=True, help="A graph for Graphviz.")
@click.option("--html", type=Path, metavar="FILE", help="Write a page that needs nothing else.")
@click.option("--hash", "hash_all", is_flag=True, help="Hash large files in the cache, too.")
def trace(
    thing: str,
    rev: str | None,
    down: bool,
    as_json: bool,
    mermaid: bool,
    dot: bool,
    html: Path | None,
    hash_all: bool,
) -> None:
    """Follow a thing back to raw files, base model, params, code and machine, by hash; or on to all that used it.

    It reads git and DVC's cache alone: offline, and never written to.

    Example: clew trace models/aligned
    """
    if sum((as_json, mermaid, dot)) > 1:
        raise click.BadParameter("--json, --mermaid and --dot are three forms: name one of them")

    from clew.errors import HistoryError
    from clew.history import blocks
    from clew.lineage import drawing
    from clew.lineage import trace as lineage

    try:
        found = lineage.trace(Path.cwd(), blocks.whole(thing), rev, down=down, thorough=hash_all)
    except HistoryError as error:
        raise _absent(rev) or error from None
    if html is not None:
        from clew.lineage import drawing_page

        try:
            html.write_text(drawing_page.render(found), encoding="utf-8")
        except OSError as error:
            reason = error.strerror or "it cannot be written"
            raise HistoryError(reason, where=str(html), fix="Name a file in a folder that is there.") from None
    if as_json:
        click.echo(drawing.as_json(found))
    elif mermaid:
        click.echo(drawing.mermaid(drawing.graph_of(found)), nl=False)
    elif dot:
        click.echo(drawing.dot(drawing.graph_of(found)), nl=False)
    elif html is not None:
        click.echo(f"wrote {html}")
    else:
        from clew.lineage import drawing_terminal

        drawing_terminal.show(found)


def _absent(rev: str | None) -> HistoryError | None:
    """The word for a clone that has not got the files of a revision, which explains whatever was not found there."""
    from clew.errors import HistoryError
    from clew.history import repository, snapshot

    with suppress(HistoryError):
        name = rev or "HEAD"
        lacking = snapshot.take(repository.open_repository(Path.cwd()), name).lacking
        return HistoryError(lacking, where=name, fix=repository.BRING) if lacking else None
    return None
