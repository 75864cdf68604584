"""One process at a time writes a folder."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from mmdrsl.folder_lock import LOCK, written_alone

ROOT = Path(__file__).resolve().parents[1]
# Light: the lock alone is imported, from its own file.
HOLDER = f"""
import os, runpy, sys, time
from pathlib import Path
lock = runpy.run_path({str(ROOT / "mmdrsl/folder_lock.py")!r})
with lock["written_alone"](Path(sys.argv[1])):
    if len(sys.argv) > 2 and os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(folder, *options):
    """A process that holds the lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER), str(folder), *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_process_is_refused_until_the_first_has_ended(tmp_path):
    folder = tmp_path / "out"
    process = hold(folder)
    refusal = r"Another process is writing .*out .*choose another"
    with pytest.raises(BlockingIOError, match=refusal), written_alone(folder):
        pass
    process.stdin.close()
    assert process.wait() == 0
    with written_alone(folder):
        assert (folder / LOCK).is_file()


def test_a_killed_process_holds_nothing_even_where_its_children_live(tmp_path):
    folder = tmp_path / "out"
    process = hold(folder, "with a child")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (folder / LOCK).is_file()
    with written_alone(folder), written_alone(folder):
        pass
    assert not folder.joinpath(LOCK).exists()
    os.killpg(process.pid, signal.SIGKILL)


def test_a_folder_is_left_as_it_was(tmp_path):
    with pytest.raises(ZeroDivisionError), written_alone(tmp_path / "new"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old").mkdir()
    with written_alone(tmp_path / "old"):
        pass
    assert list((tmp_path / "old").iterdir()) == []


def test_a_link_is_the_folder_that_it_names(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    process = hold(tmp_path / "link")
    with pytest.raises(BlockingIOError), written_alone(tmp_path / "real"):
        pass
    process.stdin.close()
    process.wait()
    assert (tmp_path / "link").is_symlink()
    (tmp_path / "nowhere").symlink_to("gone")
    (tmp_path / "file").write_text("")
    for name in ("nowhere", "file", "file/below"):
        with pytest.raises(NotADirectoryError, match=name), written_alone(tmp_path / name):
            pass


def test_a_folder_that_can_only_be_read_needs_no_lock(tmp_path):
    command = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a file system is not allowed here")
    try:
        with written_alone(tmp_path):
            assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_many_processes_in_turn(tmp_path):
    """Removing the file and taking its lock never lets two in."""
    program = f"""
import os, runpy, sys, time
from pathlib import Path
lock = runpy.run_path({str(ROOT / "mmdrsl/folder_lock.py")!r})
folder = Path(sys.argv[1])
done = 0
while done < 50:
    try:
        with lock["written_alone"](folder):
            os.mkdir(folder / "inside")
            os.rmdir(folder / "inside")
            done += 1
    except BlockingIOError:
        time.sleep(0.0005)
"""
    folder = tmp_path / "out"
    folder.mkdir()
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(folder)], stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    end = time.monotonic() + 60
    for process in processes:
        _, error = process.communicate(timeout=end - time.monotonic())
        assert process.returncode == 0, error.decode()[-500:]
