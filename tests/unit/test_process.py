"""Children do not outlive their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from clew import process


def test_output_and_status_are_given_back():
    done = process.run([sys.executable, "-c", "import os; print(os.environ['X']); raise SystemExit(3)"], env={"X": "1"})
    assert (done.returncode, done.stdout) == (3, "1\n")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has PR_SET_PDEATHSIG")
def test_a_child_dies_when_its_parent_is_killed(tmp_path):
    mark = tmp_path / "child"
    sleep = f"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    code = f"import sys; from clew import process; process.run([sys.executable, '-c', {sleep!r}])"
    parent = subprocess.Popen([sys.executable, "-c", code])
    try:
        child = _wait_for(lambda: int(mark.read_text()) if mark.exists() and mark.read_text() else None)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert _wait_for(lambda: not _alive(child))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_for(ask):
    end = time.monotonic() + 10
    while not (answer := ask()):
        assert time.monotonic() < end, "nothing happened within 10 s"
        time.sleep(0.01)
    return answer
