"""What a machine can do: GPUs by name, from NVIDIA's data sheets, and the machine that this runs on."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

BFLOAT16 = ("avx512_bf16", "amx_bf16")
"""Flags of /proc/cpuinfo: a processor that multiplies bfloat16 in hardware."""
CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


class Machine(NamedTuple):
    """memory: bytes that a process may use. flops: peak, of dense bfloat16 matrix products a second, None: not known.

    bandwidth: of its memory, bytes a second. source: where the figures come from.
    """

    name: str
    kind: str
    memory: int
    flops: float | None
    bandwidth: float | None
    source: str


def _gpu(name: str, mebibytes: int, teraflops: float, gigabytes_a_second: float, source: str) -> Machine:
    return Machine(name, "gpu", mebibytes << 20, teraflops * 1e12, gigabytes_a_second * 1e9, source)


GPUS = {
    "a10": _gpu("NVIDIA A10", 23_028, 125, 600, "NVIDIA A10 data sheet, March 2021"),
    "l4": _gpu("NVIDIA L4", 23_034, 121, 300, "NVIDIA L4 data sheet, 2023 (242 TFLOP/s are with sparsity)"),
    "a100-40": _gpu("NVIDIA A100 40 GB", 40_960, 312, 1555, "NVIDIA A100 data sheet, June 2021"),
    "a100-80": _gpu("NVIDIA A100 80 GB", 81_920, 312, 1935, "NVIDIA A100 data sheet, June 2021 (PCIe)"),
    "h100": _gpu("NVIDIA H100 80 GB", 81_559, 989, 3350, "NVIDIA H100 data sheet, 2023 (SXM; 1,979 are with sparsity)"),
}
"""Memory as the driver tells it, dense bfloat16 tensor FLOP/s, memory bandwidth."""


def here() -> Machine:
    """The machine that this runs on: its GPU where torch sees one, else its processor."""
    if Path("/proc/driver/nvidia/version").exists():  # torch, which takes seconds to import, knows the rest
        import torch

        if torch.cuda.is_available():
            about = torch.cuda.get_device_properties(0)
            near = [one for one in GPUS.values() if one.name.split(" ")[1] in about.name.replace("-", " ").split(" ")]
            known = min(near, key=lambda one: abs(one.memory - about.total_memory), default=None)
            return Machine(
                about.name,
                "gpu",
                about.total_memory,
                known.flops if known else None,
                known.bandwidth if known else None,
                known.source if known else "torch",
            )
    return Machine("this machine", "cpu", memory(), None, None, "its operating system")


def memory() -> int:
    """Bytes of memory that a process may use: the machine's, or less where a control group says so."""
    import psutil

    total = int(psutil.virtual_memory().total)
    for file in CGROUPS:
        limit = file.read_text().strip() if file.is_file() else ""
        if limit.isdecimal():
            total = min(total, int(limit))
    return total


def precision(wanted: str, machine: Machine) -> str:
    """`auto` as `training.device.pick` settles it: bfloat16 where the machine multiplies it in hardware."""
    if wanted != "auto":
        return wanted
    if machine.kind == "gpu":
        return "bfloat16"  # every GPU of the table, and what torch is built for today
    information = Path("/proc/cpuinfo")
    if information.exists():
        return "bfloat16" if set(information.read_text().split()) & {*BFLOAT16, "amx_tile"} else "float32"
    from clew.training import device

    return device.pick(wanted).precision
