"""clew params: check params.yaml, print its schema."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command
@click.argument("file", type=Path, default="params.yaml", help="The params file.  [default: params.yaml]")
def check(file: Path) -> None:
    """Check a params file and list every problem, with its line and the nearest valid name.

    Example: clew params check
    """
    from clew import params

    for line in params.warnings(params.load(file), file):
        click.echo(line, err=True)
    click.echo(f"{file}: fine")


@click.command
def schema() -> None:
    """Print the JSON Schema of params.yaml, for editors.

    Example: clew params schema > params.schema.json
    """
    from clew import params

    click.echo(json.dumps(params.schema(), indent=2))


@click.command
def docs() -> None:
    """Print what each key of params.yaml means and may be, as Markdown.

    Example: clew params docs > docs/params.md
    """
    from clew import params_docs

    click.echo(params_docs.markdown(), nl=False)
