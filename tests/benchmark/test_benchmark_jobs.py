import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from mmdrsl.benchmark import processes
from mmdrsl.benchmark.jobs import Job, run_jobs
from mmdrsl.benchmark.processes import Processes, StoppedError, locked


@pytest.mark.parametrize("workers", [1, 3])
def test_jobs_wait_for_theirs_and_failures_stay_alone(workers):
    done = []

    def fail():
        raise RuntimeError("broken")

    failures = run_jobs(
        [
            Job(name="late", action=lambda: done.append("late"), after="first"),
            Job(name="lost", action=lambda: done.append("lost"), after="broken"),
            Job(name="broken", action=fail),
            Job(name="first", action=lambda: (time.sleep(0.2), done.append("first"))),
        ],
        workers=workers,
    )
    assert list(map(str, failures.values())) == ["broken"]
    assert done == ["first", "late"]


def test_no_more_jobs_at_a_time_than_workers():
    running, most, lock = [], [], threading.Lock()

    def work():
        with lock:
            running.append(1)
            most.append(len(running))
        time.sleep(0.05)
        with lock:
            running.pop()

    run_jobs([Job(name=str(index), action=work) for index in range(6)], workers=2)
    assert max(most) == 2


def test_unknown_predecessor_is_refused():
    with pytest.raises(ValueError, match=r"\['a'\] wait for unknown"):
        run_jobs([Job(name="a", action=lambda: None, after="b")], workers=1)


def test_lock_outlives_its_killed_taker(tmp_path):
    # A starter that is killed leaves a child, which still writes into the folder.
    script = (
        "import subprocess, sys, time, pathlib, runpy\n"
        # The file alone: importing the package takes seconds.
        "locked = runpy.run_path(sys.argv[2])['locked']\n"
        "with locked(pathlib.Path(sys.argv[1]), waiting=print) as lock:\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], pass_fds=(lock,))\n"
        "    print(child.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    path = tmp_path / "a.lock"
    starter = subprocess.Popen(
        [sys.executable, "-c", script, str(path), processes.__file__],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    child = None
    while child is None:
        line = starter.stdout.readline().strip()
        child = int(line) if line.isdigit() else None
    starter.kill()
    starter.wait()
    waited, entered = threading.Event(), threading.Event()

    def enter():
        with locked(path, waiting=waited.set):
            entered.set()

    thread = threading.Thread(target=enter)
    thread.start()
    assert waited.wait(10)
    assert not entered.wait(0.3)
    os.kill(child, signal.SIGKILL)
    assert entered.wait(10)
    thread.join()


def test_a_stop_ends_the_wait_for_a_lock(tmp_path):
    waited, stopped, failed = threading.Event(), threading.Event(), []

    def enter():
        try:
            with locked(tmp_path / "a", waiting=waited.set, is_stopped=stopped.is_set):
                failed.append("entered")
        except StoppedError as error:
            failed.append(str(error))

    with locked(tmp_path / "a", waiting=waited.set):
        assert not waited.is_set()
        thread = threading.Thread(target=enter)
        thread.start()
        assert waited.wait(10)
        stopped.set()
        thread.join(10)
    assert failed == [f"stopped while another process held {tmp_path / 'a'}."]


def test_stopped_processes_have_no_status(tmp_path):
    running = Processes(environment=dict(os.environ), folder=tmp_path)
    log = tmp_path / "log"
    assert running.run([sys.executable, "-c", "print('x'); raise SystemExit(4)"], log=log) == 4
    assert log.read_text() == "x\n"
    threading.Timer(0.5, running.stop).start()
    assert running.run([sys.executable, "-c", "import time; time.sleep(60)"], log=log) is None
    assert running.run([sys.executable, "-c", ""], log=log) is None
