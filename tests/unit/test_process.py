"""Children do not outlive their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from clew import process
from clew.errors import DataError


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


@pytest.mark.parametrize("workers", [1, 2])
def test_a_function_is_mapped_in_order_reading_only_a_little_ahead(workers):
    asked = []

    def numbers():
        for number in range(50):
            asked.append(number)
            yield number

    found = process.each(str, numbers(), workers)
    assert next(found) == "0"
    assert len(asked) <= 2 * workers + 1
    assert list(found) == [str(number) for number in range(1, 50)]


def test_an_error_of_ours_comes_whole_out_of_another_process():
    with pytest.raises(DataError) as error:
        list(process.each(_fail, ["row 3"], 2))
    assert (error.value.what, error.value.where, error.value.fix) == ("no text", "row 3", "Write one.")


def _fail(where):
    raise DataError("no text", where=where, fix="Write one.")


WORKERS = """
import os, time
from clew import process

def pid(_):
    return os.getpid()

if __name__ == "__main__":
    for number in process.each(pid, range(9), 3):
        print(number, flush=True)
        time.sleep(60)
"""


def test_workers_die_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "s.py"
    script.write_text(WORKERS)
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        parent.stdout.readline()
        workers = psutil.Process(parent.pid).children()
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert len(workers) >= 2
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive


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
