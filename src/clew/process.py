"""Processes that do not outlive those who started them: our children us, and we `dvc repro`.

A stage that is killed (`kill -9` included) must leave nothing running. On Linux the kernel sees to it: the child
asks for SIGKILL when its parent dies. Elsewhere a child ends when it next writes to the closed pipe.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

Given = TypeVar("Given")
Found = TypeVar("Found")


PR_SET_PDEATHSIG = 1  # from linux/prctl.h


def run(args: Sequence[str], *, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return its exit status and output; it dies with us.

    env: variables to set on top of ours.
    """
    return subprocess.run(
        list(args),
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        preexec_fn=_dies_with(os.getpid()),
    )


def follow(args: Sequence[str], *, env: Mapping[str, str]) -> int:
    """Run a command to its end, its input and output ours; its exit status. It dies with us. env: as in `run`."""
    dies = _dies_with(os.getpid())
    return subprocess.run(list(args), env={**os.environ, **env}, check=False, preexec_fn=dies).returncode


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def each(function: Callable[[Given], Found], items: Iterable[Given], workers: int) -> Iterator[Found]:
    """`map(function, items)` on so many processes: in order, a few items ahead. function: importable by its name."""
    if workers == 1:
        yield from map(function, items)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    context = multiprocessing.get_context("spawn")  # a fork would copy locks that threads of pyarrow hold
    with ProcessPoolExecutor(workers, context, initializer=_watch_parent) as pool:
        waiting: deque[Future[Found]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _watch_parent() -> None:
    """In a worker: end when the process that started it does, even if that was before this call."""
    import multiprocessing

    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=follow, daemon=True).start()


def _dies_with(parent: int) -> Callable[[], None] | None:
    """What a child runs before its program, or None where the kernel cannot do it."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork: after it only system calls are safe

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return ask


def die_with_parent(*others: int) -> None:
    """Make this process end when `dvc repro` ends, however it ends: a second run must not meet the first.

    DVC starts stages through a shell, which may or may not stay between: both are watched. others: ids of further
    processes to end with.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        watched = [os.getppid()]
        arguments = _command_line(watched[0])
        if "-c" in arguments[1:4]:  # sh -c "clew stage …", bash --noprofile --norc -c "clew stage …"
            watched.append(_parent(watched[0]))
        if _is_orphan(watched[0]):
            os._exit(1)
        for pid in (*watched, *others):
            if pid <= 1:
                continue
            try:
                descriptor = os.pidfd_open(pid)
            except ProcessLookupError:
                os._exit(1)
            threading.Thread(target=_exit_with, args=(descriptor,), daemon=True).start()


def _is_orphan(parent: int) -> bool:
    """Whether `dvc repro` started us (it sets DVC_STAGE) and is gone: init, or what stands for it, took us over."""
    if "DVC_STAGE" not in os.environ or any("dvc" in argument for argument in _command_line(parent)):
        return False
    return parent <= 1 or Path(_command_line(parent)[0]).name in ("systemd", "init", "tini", "dumb-init")


def _exit_with(descriptor: int) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.poll()
    os.kill(os.getpid(), signal.SIGKILL)


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return [""]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0
