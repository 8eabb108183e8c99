"""clew params: check params.yaml, print its schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Check params.yaml or print its schema.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="The params file.")]


@app.command()
def check(file: File = Path("params.yaml")) -> None:
    """Check a params file and list every problem, with its line and the nearest valid name.

    Example: clew params check
    """
    from clew import params

    params.load(file)
    typer.echo(f"{file}: fine")


@app.command()
def schema() -> None:
    """Print the JSON Schema of params.yaml, for editors.

    Example: clew params schema > params.schema.json
    """
    from clew import params

    typer.echo(json.dumps(params.schema(), indent=2))
