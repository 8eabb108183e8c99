"""clew rows: keys for row ids."""

from __future__ import annotations

import typer

app = typer.Typer(help="Row identities.", no_args_is_help=True)


@app.command()
def key() -> None:
    """Make a secret key for row ids and print its fingerprint, to be named as prepare.row_key.

    Keep the key file out of git and back it up: without it the same rows get other ids. Destroying it unlinks
    the ids from the rows for good.

    Example: clew rows key
    """
    from clew import keys

    made = keys.make()
    typer.echo(f"wrote {made}\nset prepare.row_key: {made.name} in params.yaml")
