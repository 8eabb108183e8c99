"""clew trace: where a thing came from, or what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def trace(
    thing: Annotated[
        str,
        typer.Argument(help="A path, a metric (FILE:task.metric@variant), an MD5 or SHA-256, or a file on disk."),
    ],
    rev: Annotated[
        str | None, typer.Option(help="A branch, tag, commit or experiment; default: the work tree.")
    ] = None,
    down: Annotated[bool, typer.Option("--down", help="What used it, in all of the history.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="A Mermaid flowchart.")] = False,
    dot: Annotated[bool, typer.Option("--dot", help="A graph for Graphviz.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page that needs nothing else.")] = None,
    hash_all: Annotated[bool, typer.Option("--hash", help="Hash large files in the cache, too.")] = False,
) -> None:
    """Follow a thing back to raw files, base model, params, code and machine, by hash; or on to all that used it.

    It reads git and DVC's cache alone: offline, and never written to.

    Example: clew trace models/aligned
    """
    if sum((as_json, mermaid, dot)) > 1:
        raise typer.BadParameter("--json, --mermaid and --dot are three forms: name one of them")

    from clew.errors import HistoryError
    from clew.lineage import drawing
    from clew.lineage import trace as lineage

    found = lineage.trace(Path.cwd(), thing, rev, down=down, thorough=hash_all)
    if html is not None:
        from clew.lineage import drawing_page

        try:
            html.write_text(drawing_page.render(found), encoding="utf-8")
        except OSError as error:
            reason = error.strerror or "it cannot be written"
            raise HistoryError(reason, where=str(html), fix="Name a file in a folder that is there.") from None
    if as_json:
        typer.echo(drawing.as_json(found))
    elif mermaid:
        typer.echo(drawing.mermaid(drawing.graph_of(found)), nl=False)
    elif dot:
        typer.echo(drawing.dot(drawing.graph_of(found)), nl=False)
    elif html is not None:
        typer.echo(f"wrote {html}")
    else:
        from clew.lineage import drawing_terminal

        drawing_terminal.show(found)
