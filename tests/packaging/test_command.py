"""The command `mmdrsl` as a user types it."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import mmdrsl_cli
from mmdrsl.installation import configs_folder, files_root, tools_folder

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "drsl/deeplabv3plus_scenes2scenes.py"


def run(*arguments, cwd=ROOT, **variables):
    return subprocess.run(
        [sys.executable, "-m", "mmdrsl_cli", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables},
    )


def test_help_comes_at_once_and_names_every_command():
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = run("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in mmdrsl_cli.TOOLS)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 1


def test_neither_the_library_nor_pytorch_is_imported():
    code = "import sys, mmdrsl_cli; mmdrsl_cli.find_root(); print({'torch', 'mmdrsl'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_no_command_is_an_error(capsys):
    assert mmdrsl_cli.main([]) == 2
    assert "usage: mmdrsl" in capsys.readouterr().out


def test_every_command_has_a_tool():
    for command in mmdrsl_cli.TOOLS:
        assert mmdrsl_cli.find_tool(command, files_root()).is_file()


def test_unknown_command_names_the_near_one(capsys):
    assert mmdrsl_cli.main(["trian"]) == 2
    assert "Did you mean train or rank?" in capsys.readouterr().err


def test_unknown_config_names_the_near_one(capsys):
    assert mmdrsl_cli.main(["train", "drsl/deeplabv3plus_scenes2scene.py"]) == 2
    assert f"Did you mean {CONFIG}" in capsys.readouterr().err


@pytest.mark.parametrize("name", [CONFIG, f"configs/{CONFIG}", CONFIG.removesuffix(".py")])
def test_short_name_becomes_a_path_of_the_configs_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["--work-dir", "out", name, "--cfg-options", "load_from=missing.py"]
    found = mmdrsl_cli.resolve_configs(arguments, configs_folder())
    assert found == ["--work-dir", "out", str(configs_folder() / CONFIG), *arguments[3:]]


def test_own_file_comes_before_one_of_the_configs_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "drsl").mkdir()
    (tmp_path / CONFIG).touch()
    assert mmdrsl_cli.find_config(CONFIG, configs_folder()) == CONFIG


def test_files_of_a_checkout_are_beside_the_package():
    assert files_root() == ROOT
    assert (tools_folder(), configs_folder()) == (ROOT / "tools", ROOT / "configs")


def test_check_runs_with_a_short_name(scenes_root, tmp_path):
    done = run("check", CONFIG, "--json", cwd=tmp_path, MMDRSL_SCENES=str(scenes_root))
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(json.loads(done.stdout.splitlines()[-1])) >= {"source", "target"}
