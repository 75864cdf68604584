import hypothesis
import pytest
import torch
from mmseg.utils import register_all_modules

hypothesis.settings.register_profile("small", max_examples=15, deadline=None, derandomize=True)
hypothesis.settings.load_profile("small")


@pytest.fixture(scope="session", autouse=True)
def default_scope():
    # init_default_scope alone would leave MMSegmentation's modules unregistered.
    register_all_modules(init_default_scope=True)
    torch.set_num_threads(1)
