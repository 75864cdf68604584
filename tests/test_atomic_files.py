"""Files that a reader sees whole or not at all."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from mmdrsl.atomic_files import file_hash, replacing, write_atomically


def test_write_atomically_replaces(tmp_path):
    path = tmp_path / "x.json"
    write_atomically(path, "one")
    write_atomically(path, "two")
    assert path.read_text() == "two"
    assert [item.name for item in tmp_path.iterdir()] == ["x.json"]


def test_two_writers_of_one_file(tmp_path):
    path = tmp_path / "results.json"
    texts = ["a" * 5000, "b" * 5000]

    def write(text):
        for _ in range(200):
            write_atomically(path, text)
            assert path.read_text() in texts

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, texts))
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "table.bin"
    path.write_bytes(b"old")
    with replacing(path) as temporary:
        temporary.write_bytes(b"n")
        assert path.read_bytes() == b"old"
        temporary.write_bytes(b"new")
    assert path.read_bytes() == b"new"
    with pytest.raises(TypeError), replacing(path) as temporary, temporary.open("wb") as file:
        file.writelines([b"half", None])
    assert path.read_bytes() == b"new"
    assert [item.name for item in tmp_path.iterdir()] == ["table.bin"]


def test_a_write_that_makes_no_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.bin"):
        pass
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "no folder" / "a.txt", "text")


def test_files_have_the_usual_permissions(tmp_path):
    write_atomically(tmp_path / "ours", "text")
    (tmp_path / "usual").write_text("text")
    assert os.stat(tmp_path / "ours").st_mode == os.stat(tmp_path / "usual").st_mode


def test_hash_of_a_file(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    assert file_hash(tmp_path / "a") == hashlib.sha256(b"content").hexdigest()
