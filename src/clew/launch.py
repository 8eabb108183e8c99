"""A stage in several processes: it starts itself again under `accelerate launch`, as configs/<launch>.yaml says.

    sft: {launch: ddp, …}   →   accelerate launch --config_file configs/ddp.yaml … -m clew.rank sft

How many processes and machines there are may be said by the machine, too: CLEW_PROCESSES (on all machines together),
CLEW_MACHINES, CLEW_MACHINE_RANK, CLEW_MAIN_ADDRESS and CLEW_MAIN_PORT stand over the file (docs/scale.md).
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clew import paths, process
from clew.errors import ClewError, ParamsError, SetupError
from clew.training.processes import ASKED, Launch, Wrapper

WRAPPERS: dict[str, Wrapper] = {"NO": "none", "MULTI_GPU": "ddp", "FSDP": "fsdp", "DEEPSPEED": "zero3"}
"""accelerate's distributed_type → what the model is put into."""
STAGE, REPORTS = "CLEW_STAGE_PROCESS", "CLEW_REPORTS"
"""Variables for the processes: the id of the one to die with, and the folder for what they report."""
RANK = "clew.rank"  # the module that each process runs
PORT = 29500  # as torch and accelerate have it


@dataclass(frozen=True)
class Place:
    """Where the machines meet. rank: of this machine. address, port: of the one with rank 0."""

    rank: int
    address: str | None
    port: int


def read(name: str) -> tuple[Launch, Place]:
    """What configs/<name>.yaml and this machine's variables ask for; ParamsError where that cannot be."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    file = paths.CONFIGS / f"{name}.yaml"
    if not file.exists():
        there = sorted(path.stem for path in paths.CONFIGS.glob("*.yaml"))
        raise ParamsError(f"there is no {file}", where="launch", fix=f"There are: {', '.join(there) or 'none'}.")
    try:
        config = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
    except YAMLError as error:
        raise _wrong(file, f"is no YAML ({' '.join(str(error).split())[:100]})") from None
    if not isinstance(config, dict) or config.get("distributed_type") not in WRAPPERS:
        raise _wrong(file, f"has no distributed_type among {', '.join(WRAPPERS)}")
    if config.get("mixed_precision", "no") != "no":
        raise _wrong(file, 'must have mixed_precision: "no", or none: the precision is that of the section')
    machines = _number("CLEW_MACHINES", file, "num_machines", config.get("num_machines", 1))
    processes = _number("CLEW_PROCESSES", file, "num_processes", config.get("num_processes"))
    wrapper = WRAPPERS[config["distributed_type"]]
    if processes % machines:
        raise _wrong(file, f"asks for {processes} processes on {machines} machines: not as many on each")
    if (wrapper == "none" and processes > 1) or (wrapper == "ddp" and processes < 2):
        raise _wrong(file, f"asks for {processes} process{'es' * (processes > 1)} of type {config['distributed_type']}")
    place = Place(
        _number("CLEW_MACHINE_RANK", file, "machine_rank", config.get("machine_rank", 0), least=0),
        os.environ.get("CLEW_MAIN_ADDRESS") or config.get("main_process_ip"),
        _number("CLEW_MAIN_PORT", file, "main_process_port", config.get("main_process_port", PORT)),
    )
    if machines > 1 and (place.address is None or place.rank >= machines):
        what = f"asks for {machines} machines: set CLEW_MAIN_ADDRESS, and CLEW_MACHINE_RANK to 0 to {machines - 1}"
        raise _wrong(file, what)
    return Launch(name, processes, machines, wrapper, bool(config.get("use_cpu"))), place


def _number(variable: str, file: Path, key: str, in_file: Any, *, least: int = 1) -> int:
    told = os.environ.get(variable)
    value = in_file if told is None else told
    if isinstance(value, bool) or not str(value).isdecimal() or int(value) < least:
        where = f"{file}, {key}" if told is None else variable
        raise ParamsError(f"`{value}` is no whole number of {least} or more", where=where, fix="Set another one.")
    return int(value)


def _wrong(file: Path, what: str) -> ParamsError:
    return ParamsError(f"{file} {what}", where="launch", fix="docs/scale.md tells what a configuration needs.")


def run(stage: str, launch: Launch, place: Place) -> dict[str, Any]:
    """Run a stage in processes of its own, to its end; what the main one reports of it (nothing on other machines).

    They die with this process. Where one fails, its error is raised here: a ClewError as it is.
    """
    with tempfile.TemporaryDirectory(prefix="clew-") as folder:
        variables = {
            ASKED: json.dumps(asdict(launch)),
            STAGE: str(os.getpid()),
            REPORTS: folder,
            **({"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"} if launch.cpu else {}),
        }
        ended = process.follow(_command(stage, launch, place), env=variables)
        reports = [pickle.loads(path.read_bytes()) for path in Path(folder).iterdir()]  # noqa: S301 - our own
    failed = sorted((one for one in reports if "error" in one), key=lambda one: (not one["killed"], one["time"]))
    if failed:
        error = failed[0]["error"]
        raise error if isinstance(error, ClewError) else _failed(f"process {failed[0]['number']}: {error}", launch)
    if ended:
        raise _failed(f"accelerate launch ended with exit code {ended}", launch)
    return next((one["facts"] for one in reports if one["number"] == 0), {})


def _failed(what: str, launch: Launch) -> SetupError:
    return SetupError(
        what,
        where=f"configs/{launch.config}.yaml",
        fix="What it printed stands above; out of memory, lower micro_batch_size. `dvc repro` goes on from the last"
        " checkpoint.",
    )


def _command(stage: str, launch: Launch, place: Place) -> list[str]:
    options: Mapping[str, Any] = {
        "config_file": paths.CONFIGS / f"{launch.config}.yaml",
        "num_processes": launch.processes,
        "num_machines": launch.machines,
        "machine_rank": place.rank,
        **({"main_process_ip": place.address} if place.address else {}),
        "main_process_port": place.port if launch.machines > 1 else 0,  # any that is free
    }
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return [sys.executable, "-m", "clew.launcher", *flags, "--module", RANK, stage]
