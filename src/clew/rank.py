"""One of the processes of a stage, as `clew.launch` has them started: `python -m clew.rank sft`."""

from __future__ import annotations

import os
import pickle
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from clew import launch, process, runtime
from clew.errors import ClewError
from clew.training import processes


def main() -> None:
    """Run the stage with the others, and report what came of it; exit code 1 where it failed here."""
    process.die_with_parent(int(os.environ[launch.STAGE]))
    number = int(os.environ.get("RANK", "0"))
    try:
        facts = _run(sys.argv[1])
    except Exception as error:
        if not isinstance(error, ClewError):
            traceback.print_exc()
        told = error if isinstance(error, ClewError) else f"{type(error).__name__}: {_first_line(error)}"
        report(number, error=told)
        sys.stderr.flush()
        os._exit(1)  # at once: a process group that is taken down waits for processes that wait for this one
    report(number, facts=facts)
    processes.leave()


def _run(stage: str) -> dict[str, Any]:
    runtime.quieten()
    asked = processes.asked()
    if asked is None:
        raise RuntimeError(f"{processes.ASKED} is not set: clew.launch starts this")
    processes.join(asked)
    function, arguments = runtime.stage_call(stage, None)
    facts: dict[str, Any] = function(**arguments)
    hardware = runtime.hardware()
    processes.wait()  # the others leave when the main one has written
    return {"facts": facts, "hardware": hardware}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]


def report(number: int, *, facts: Any = None, error: ClewError | str | None = None, killed: bool = False) -> None:
    """Leave for `clew.launch` what became of process `number`: facts, or an error."""
    outcome = {"facts": facts} if error is None else {"error": error}
    told = {"number": number, "time": time.time(), "killed": killed, **outcome}
    path = Path(os.environ[launch.REPORTS]) / f"{number}{'-killed' * killed}"
    path.write_bytes(pickle.dumps(told))


if __name__ == "__main__":
    main()
