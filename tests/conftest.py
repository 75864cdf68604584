import gc
import logging

import hypothesis
import pytest
import torch
from mmengine.logging import MMLogger
from mmseg.utils import register_all_modules
from yapf.yapflib import yapf_api

from mmdrsl.scenes.writer import write_scenes

hypothesis.settings.register_profile("small", max_examples=15, deadline=None, derandomize=True)
hypothesis.settings.load_profile("small")


@pytest.fixture(scope="session", autouse=True)
def default_scope():
    # init_default_scope alone would leave MMSegmentation's modules unregistered.
    register_all_modules(init_default_scope=True)
    torch.set_num_threads(1)
    # Every dataset of MMEngine collects garbage; without this each looks at all modules again.
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def nothing_is_silenced():
    """A tool that ran in this process may have disabled logging, and MMEngine's loggers remember it."""
    logging.disable(logging.NOTSET)
    logger = MMLogger.get_current_instance()
    logger.setLevel(logger.level)


@pytest.fixture(scope="session", autouse=True)
def plain_config_texts():
    """Configs are written as they are: every checkpoint holds one, and to make it pretty takes half a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yapf_api, "FormatCode", lambda text, **_: (text, True))
        yield


@pytest.fixture(scope="module")
def scenes_root(tmp_path_factory):
    """Four small scenes of the game, five of the camera."""
    root = tmp_path_factory.mktemp("scenes") / "set"
    write_scenes(
        out_dir=root, seed=7, num_game=4, num_camera_train=3, num_camera_val=2, image_size=(128, 64)
    )
    return root
