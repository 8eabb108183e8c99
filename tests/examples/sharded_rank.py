"""`clew.rank`, where accelerate is told that processors are GPUs: it has FSDP for GPUs alone, torch's own runs on both.

python -m clew.launcher --config_file … --module examples.sharded_rank sft
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import DistributedType

from clew import rank


def _prepare_backend(self: Any, *_: Any) -> tuple[str, DistributedType]:
    self.device = torch.device("cpu")
    if not dist.is_initialized():
        dist.init_process_group("gloo")
    return "gloo", DistributedType.MULTI_GPU


PartialState._prepare_backend = _prepare_backend

if __name__ == "__main__":
    rank.main()
