"""Several processes that train one model: how many they are, which this is, and what they tell each other.

The process that is alone finds that it is alone, and nothing here does anything. `clew.rank` starts the others, under
`accelerate launch`; all of them run the stage from its first line, and the main one alone writes.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from clew.errors import SetupError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Value = TypeVar("Value")
Wrapper = Literal["none", "ddp", "fsdp", "zero3"]

ASKED = "CLEW_LAUNCHED"
"""The variable in which a stage tells the processes that it starts what it asked for."""
PATIENCE = timedelta(days=7)  # others wait for the main process while it writes and measures
LOST = timedelta(minutes=30)  # in a step of training: a process that is gone, or hangs
MISSED = (
    "Set `launch` to what this machine can run (ddp_cpu without GPUs, null for one process), or CLEW_PROCESSES to as"
    " many as it has GPUs; docs/scale.md."
)


@dataclass(frozen=True)
class Launch:
    """What a stage was asked to run on. config: its file's name in configs/. processes: on all machines together.

    wrapper: what the model is put into. cpu: over gloo, without GPUs.
    """

    config: str
    processes: int
    machines: int
    wrapper: Wrapper
    cpu: bool


def asked() -> Launch | None:
    """What this process was started for; None where no `launch` is set."""
    told = os.environ.get(ASKED)
    return None if told is None else Launch(**json.loads(told))


def made_by() -> dict[str, Any]:
    """What the record of a model says of the processes that made it; nothing where it was one, unwrapped."""
    launch = asked()
    if launch is None or launch.wrapper == "none":
        return {}
    return {"launch": {name: value for name, value in asdict(launch).items() if name != "cpu"}}


def count() -> int:
    """How many processes train together."""
    launch = asked()
    return 1 if launch is None else launch.processes


def here() -> int:
    """How many of them share this machine."""
    launch = asked()
    return 1 if launch is None else launch.processes // launch.machines


def number() -> int:
    """Which of them this is: from 0, the main one."""
    if count() == 1:
        return 0
    import torch.distributed as dist

    return dist.get_rank()


def is_main() -> bool:
    """Whether this is the process that writes."""
    return number() == 0


_talk: Any = None


def join(launch: Launch) -> None:
    """Meet the other processes; SetupError unless as many came, on such devices, as were asked for."""
    global _talk
    import torch
    import torch.distributed as dist
    from accelerate import PartialState

    gpus = 0 if launch.cpu else launch.processes // launch.machines
    if torch.cuda.device_count() < gpus:
        raise _missed(launch, f"{gpus} GPUs on this machine", f"{torch.cuda.device_count()}")
    if launch.processes > 1:
        PartialState(cpu=launch.cpu, timeout=LOST)
    came = dist.get_world_size() if dist.is_initialized() else 1
    if came != launch.processes:
        raise _missed(launch, f"{launch.processes} processes", f"{came}")
    if launch.processes > 1:
        _talk = dist.new_group(backend="gloo", timeout=PATIENCE)


def leave() -> None:
    """Part from the other processes."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()


def check_state(launch: Launch | None, world_size: int) -> None:
    """Raise SetupError unless there are as many processes as were asked for: on a CPU accelerate falls back to one
    without a word."""
    if launch is None:
        if world_size != 1:
            raise SetupError(
                f"this stage was started in {world_size} processes from outside",
                where="WORLD_SIZE",
                fix="Start it with `dvc repro`, and set `launch` in its section of params.yaml.",
            )
        return
    if world_size != launch.processes:
        raise _missed(launch, f"{launch.processes} processes", f"{world_size}")


def check_wrapper(model: Any) -> None:
    """Raise SetupError unless the model that is about to be trained is wrapped as was asked for: on a CPU accelerate
    takes DDP for FSDP without a word."""
    launch = asked()
    kinds = {kind.__name__ for kind in type(model).__mro__}
    names: dict[str, Wrapper] = {
        "DistributedDataParallel": "ddp",
        "FSDPModule": "fsdp",
        "FullyShardedDataParallel": "fsdp",
        "DeepSpeedEngine": "zero3",
    }
    found = next((names[kind] for kind in names if kind in kinds), "none")
    if launch is not None and found != launch.wrapper:
        raise _missed(launch, launch.wrapper, found)


def read_whole() -> None:
    """Have models that are read from now on stay whole: DeepSpeed would part them among processes that read none."""
    launch = asked()
    if launch is not None and launch.wrapper == "zero3":
        from transformers.integrations.deepspeed import unset_hf_deepspeed_config

        unset_hf_deepspeed_config()


def _missed(launch: Launch, wanted: str, found: str) -> SetupError:
    return SetupError(f"asked for {wanted}, and there is {found}", where=f"configs/{launch.config}.yaml", fix=MISSED)


def wait() -> None:
    """Go on when all processes have come here."""
    if count() > 1:
        import torch.distributed as dist

        dist.barrier(group=_talk)


def share(value: Value) -> Value:
    """What the main process has, in all of them."""
    if count() == 1:
        return value
    import torch.distributed as dist

    told = [value]
    dist.broadcast_object_list(told, group=_talk)
    return told[0]


def gather(value: Value) -> list[Value]:
    """What each process has, in the order of their numbers, in all of them."""
    if count() == 1:
        return [value]
    import torch.distributed as dist

    found: list[Any] = [None] * count()
    dist.all_gather_object(found, value, group=_talk)
    return found


def total(tensor: Any) -> Any:
    """The sum of a tensor over all processes, on its device."""
    if count() == 1:
        return tensor
    import torch.distributed as dist

    summed = tensor.clone()
    dist.all_reduce(summed)
    return summed


def total_counts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The sum of counts over all processes."""
    if count() == 1:
        return counts
    import torch
    import torch.distributed as dist

    summed = torch.from_numpy(counts.copy())
    dist.all_reduce(summed, group=_talk)
    found: NDArray[np.int64] = summed.numpy()
    return found


def mean(summed: float, weight: float) -> float:
    """Sums of values and of their weights, over all processes, as a mean."""
    values, weights = zip(*gather((summed, weight)), strict=True)
    return float(sum(values) / max(sum(weights), 1e-9))


def fill(rows: int, micro_batch_size: int) -> int:
    """How many rows without weight must follow so that all processes get as many micro-batches; none for one process.

    accelerate would feed rows of the beginning a second time.

    >>> fill(13, 2)
    0
    """
    return 0 if count() == 1 else -rows % (micro_batch_size * count())


def folder_of_main(folder: Path | None) -> Path | None:
    """A folder that the main process names, after all have seen it; SetupError where one does not."""
    named = share(folder)
    if named is not None and not all(gather(named.is_dir())):
        raise SetupError(
            "the checkpoint of the main process is not on all machines",
            where=str(named),
            fix="Keep the work tree on a file system that the machines share (docs/scale.md).",
        )
    return named
