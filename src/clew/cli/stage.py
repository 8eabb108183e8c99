"""clew stage: the wrapper around every stage of dvc.yaml."""

from __future__ import annotations

import click


@click.command
@click.argument("name", help="A stage of dvc.yaml, such as clean.")
@click.argument("item", required=False, help="For fan-outs: the item, such as int8.")
def stage(name: str, item: str | None) -> None:
    """Run one stage of the pipeline; `dvc repro` calls this.

    It checks params.yaml, dies with its parent, and records time, memory and hardware in metrics/runtime/.

    Example: clew stage clean
    """
    from clew import runtime
    from clew.cli import garbage

    garbage.look_as_usual()
    runtime.run_stage(name, item)
