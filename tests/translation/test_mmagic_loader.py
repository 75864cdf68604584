import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch

from mmdrsl.translation import mmagic_loader


def run(program):
    """Run a program in a fresh interpreter, since imports cannot be undone."""
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )


def test_cyclegan_is_mmagics_own_and_registered():
    package = mmagic_loader.load_mmagic()
    from mmagic.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS

    assert MODELS.get("CycleGAN") is package.CycleGAN
    assert package.CycleGAN.__module__ == "mmagic.models.editors.cyclegan.cyclegan"
    assert "site-packages/mmagic" in sys.modules[package.CycleGAN.__module__].__file__
    assert OPTIM_WRAPPER_CONSTRUCTORS.get("MultiOptimWrapperConstructor") is not None
    networks = {
        "mmagic.ResnetGenerator": dict(
            in_channels=3, out_channels=3, base_channels=4, num_blocks=1
        ),
        "mmagic.PatchDiscriminator": dict(in_channels=3, base_channels=4, num_conv=2),
    }
    from mmseg.registry import MODELS as MMSEG_MODELS

    for name, options in networks.items():
        # By their full names they are found from MMSegmentation's registry, too.
        network = MMSEG_MODELS.build(dict(type=name, **options))
        assert network(torch.zeros(1, 3, 32, 32)).shape[0] == 1
    assert mmagic_loader.load_mmagic() is package
    assert not hasattr(np, "bool8")


def test_narrow_import_serves_where_the_plain_one_fails():
    done = run(
        "import sys, mmdrsl\n"
        "assert 'mmagic' not in sys.modules, 'the product itself imports it'\n"
        "from mmdrsl.translation import mmagic_loader\n"
        "plain = True\n"
        "try:\n"
        "    import mmagic\n"
        "except Exception:\n"
        "    plain = False\n"
        "mmagic_loader.load_mmagic()\n"
        "assert plain or not hasattr(sys.modules['mmagic'], '__version__')\n"
        "assert plain or not {'diffusers', 'transformers'} & set(sys.modules)\n"
    )
    assert done.returncode == 0, done.stderr


def test_one_line_says_what_to_run(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "mmagic" else find(name)
    )
    with pytest.raises(ImportError, match=r"is not installed\. Run: make translation$"):
        mmagic_loader.load_mmagic()


@pytest.mark.slow
def test_one_line_names_the_package_that_is_missing():
    done = run(
        "import sys, mmdrsl.translation.mmagic_loader as loader\n"
        "sys.modules['click'] = None\n"
        "loader.load_mmagic()\n"
    )
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "click" in last
    assert "Run: make translation" in last
