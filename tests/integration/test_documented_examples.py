"""The examples of "add a model", "add a method" and "add a pair" run from a folder outside the checkout.

A python block of these pages that begins with a comment naming a file (``# my_method.py``) is that file of the folder
``my_folder``, which lies beside the checkout ``mmdrsl``. The config that no other file is based on is trained for a few
steps on the scenes.
"""

import re
from pathlib import Path

import mmseg
import pytest
import torch
from mmengine.config import Config
from run_tools import ROOT, run_tool, with_test_of

PAGES = ("add_a_model", "add_a_method", "add_a_pair")
STOCK_TEST = Path(mmseg.__file__).parent / ".mim" / "tools" / "test.py"
# One step of warm-up and a round of two.
SHORT = """
_base_ = "my_config.py"
train_cfg = dict(max_iters=3, val_interval=3)
default_hooks = dict(
    {hooks}
    checkpoint=dict(interval=3),
    logger=dict(interval=1),
    self_training=dict(
        warmup_iterations=1, rounds=[dict(iterations=2, portion=0.5, target_share=0.5)]
    ),
)
"""
# Hooks whose beginning is counted in steps.
BEGINNINGS = dict(
    teacher="teacher=dict(begin=1),", modes="modes=dict(kmeans_iteration=1, interval=0),"
)


def read(config):
    """The config; its modules are imported by the tools alone, so that this process knows nothing of them."""
    return Config.fromfile(config, import_custom_modules=False)


def write_example(page, folder):
    """Write a page's files; return the config to train."""
    path = ROOT / "docs" / f"{page}.md"
    assert path.is_file(), f"there is no page docs/{page}.md whose example could be run"
    blocks = re.findall(r"^```python\n# ([\w-]+\.py)\n(.*?)^```", path.read_text(), re.M | re.S)
    files = dict(blocks)
    assert len(files) == len(blocks) >= 2, f"docs/{page}.md needs a python block for each file"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    (folder.parent / "mmdrsl").symlink_to(ROOT)
    assert re.search("^_base_ = ", files["my_config.py"], re.M)
    hooks = read(folder / "my_config.py").default_hooks
    short = folder / "short.py"
    short.write_text(
        SHORT.format(hooks="".join(text for name, text in BEGINNINGS.items() if name in hooks))
    )
    return short


@pytest.mark.parametrize("page", PAGES)
def test_example_trains_and_exports(page, scenes_root, tmp_path, monkeypatch):
    config = write_example(page, tmp_path / "my_folder")
    command = ["tools/train.py", "my_folder/short.py", "--work-dir", "run"]
    log = run_tool(command, scenes_root, folder=tmp_path)
    cfg = read(config)
    for name in cfg.model.terms:
        assert re.search(rf" {name}\.\w*loss_\w+: -?[\d.]+", log), name
    checkpoint = torch.load(tmp_path / "run" / "iter_3.pth", weights_only=False)
    assert all(value.isfinite().all() for value in checkpoint["state_dict"].values())
    # AdamW keeps state of what ever had a gradient.
    optimizer = checkpoint["optimizer"]
    trained = {number for group in optimizer["param_groups"] for number in group["params"]}
    assert trained == optimizer["state"].keys()
    export = ["tools/model_converters/export_segmentor.py", config, "run/iter_3.pth"]
    run_tool([*export, "--out", "plain"], scenes_root, folder=tmp_path)
    # The labels hold raw ids, which the exported config leaves out.
    monkeypatch.setenv("MMDRSL_SCENES", str(scenes_root))
    tested = with_test_of(tmp_path / "plain" / "config.py", read(config))
    test = [STOCK_TEST, tested, "plain/segmentor.pth", "--work-dir", "test"]
    output = run_tool(test, scenes_root, folder=tmp_path, path=[tmp_path / "my_folder"])
    found, expected = (re.findall(r"\bmIoU: ([0-9.]+)", text)[-1] for text in (output, log))
    assert float(found) == pytest.approx(float(expected), abs=0.01)
