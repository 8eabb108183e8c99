"""clew plan: what would run and what it would take, before it is paid."""

from __future__ import annotations

import click

GPUS = ("a10", "l4", "a100-40", "a100-80", "h100")


@click.command
@click.argument("stages", nargs=-1, help="Only these stages, as if they ran; default: all that would.")
@click.option("--on", type=click.Choice(GPUS), help="A GPU to estimate for; default: this machine.")
@click.option("--json", "as_json", is_flag=True, help="Everything, for programs.")
def plan(stages: tuple[str, ...], on: str | None, as_json: bool) -> None:
    """Tell which stages would run and why, and what training would take: tokens, steps, memory, time, disk.

    No weights are read and nothing is run. The exit code is 1 where memory or disk will not do.

    Example: clew plan --on h100 sft
    """
    from pathlib import Path

    from clew.planning import plan as planning
    from clew.planning import view

    found = planning.make(Path.cwd(), stages, on)
    if as_json:
        import json

        click.echo(json.dumps(view.as_json(found), indent=2, ensure_ascii=False))
    else:
        for line in view.lines(found):
            click.echo(line)
    if found.problems:
        raise SystemExit(1)
