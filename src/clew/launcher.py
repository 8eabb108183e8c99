"""`accelerate launch`, quiet about processes that fail: these report it, and `clew.launch` tells it.

    python -m clew.launcher --config_file configs/ddp.yaml … --module clew.rank sft

Only a process that was killed cannot report it, so this does.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import warnings

from clew import rank


def main() -> None:
    """Do as `accelerate launch` does with the same arguments; exit code 1 where a process failed."""
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    for name in ("torch.distributed.elastic", "torch.distributed.run"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")
    try:
        launch_command(launch_command_parser().parse_args())
    except ChildFailedError as error:
        for number, failure in error.failures.items():
            _tell(number, failure.exitcode)
        sys.exit(1)
    except subprocess.CalledProcessError as error:  # of a single process
        _tell(0, error.returncode)
        sys.exit(1)


def _tell(number: int, code: int) -> None:
    if code < 0 and -code != signal.SIGTERM:  # by which accelerate itself ends the others
        name = signal.Signals(-code).name
        hint = ": out of memory?" if name == "SIGKILL" else ""
        rank.report(number, error=f"it was killed by {name}{hint}", killed=True)


if __name__ == "__main__":
    main()
