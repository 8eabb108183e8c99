"""The stages of dvc.yaml, a file each: `run` reads, calls pure logic, writes.

The names of `run`'s arguments are the sections of params.yaml that the stage uses; `item` is a fan-out's item.
It returns what is volatile (device, speed) for metrics/runtime/.
"""
