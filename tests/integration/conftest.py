import pytest
from families import PAGE as MODELS_PAGE
from families import page_with
from run_tools import run_tool, train_command
from tested_page import PAGE, Tested

from mmdrsl.scenes.writer import write_scenes


@pytest.fixture(scope="session")
def scenes_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes") / "set"
    write_scenes(
        out_dir=root,
        seed=7,
        num_game=12,
        num_camera_train=6,
        num_camera_val=4,
        image_size=(128, 64),
    )
    return root


@pytest.fixture(scope="session")
def uninterrupted_run(scenes_root, tmp_path_factory):
    """Work dir of one whole DRSL run of ten steps."""
    work_dir = tmp_path_factory.mktemp("runs") / "whole"
    run_tool(train_command(work_dir), scenes_root)
    return work_dir


@pytest.fixture(scope="session")
def tested():
    """Notes what passed, and writes the page once it is everything."""
    notes = Tested()
    yield notes
    page = notes.page()
    if page is not None:
        PAGE.write_text(page, encoding="utf-8")


@pytest.fixture(scope="session")
def outcomes():
    """Outcome by family and method; the page is written once all are there."""
    found = {}
    yield found
    page = page_with(found)
    if page is not None:
        MODELS_PAGE.write_text(page, encoding="utf-8")
