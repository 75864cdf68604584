"""Label-free scores of weights of the target's statistics."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS
from torch import nn

from mmdrsl.engine.bn_statistics import images_of
from mmdrsl.models.feature_maps import feature_maps
from mmdrsl.scenes.writer import write_scenes
from mmdrsl.visualization.mode_maps import load_model

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "analysis_tools"))
import compare_statistics  # noqa: E402

CONFIG = str(ROOT / "configs/drsl/deeplabv3plus_scenes2scenes.py")
# An untrained decoder says the same of every pixel, an untrained backbone does not.
MODES_ON_THE_BACKBONE = {"model.heads.mmdl.in_index": 3}
ORACLE = str(ROOT / "configs/oracle/deeplabv3plus_scenes2scenes.py")


class ByPlace(nn.Module):
    """Class 1 right of a column, else class 0, whatever the image shows."""

    def __init__(self, column):
        super().__init__()
        self.column = column

    def encode_decode(self, image, metas):
        right = torch.arange(image.shape[3]) >= self.column
        return torch.stack([~right, right]).float()[None, :, None].expand(1, 2, image.shape[2], -1)


def test_consistency_by_hand():
    model = SimpleNamespace(segmentor=ByPlace(4), heads={}, num_classes=2)
    found = compare_statistics.consistency(model, [torch.zeros(1, 3, 20, 20)])
    # 16 of 20 columns are class 1; mirrored, the first 16 are: 12 are the same. At 14 columns the border is at
    # 4 / 14 of the width, between columns 5 and 6.
    assert found["mirrored"] == pytest.approx(12 / 20)
    assert found["smaller"] == pytest.approx(18 / 20)
    # Of logits 0 and 1, over log 2.
    share = torch.tensor([1.0, 0.0]).softmax(0)
    entropy = -(share * share.log2()).sum().item()
    assert found["entropy"] == pytest.approx(entropy, abs=1e-4)
    assert "heads" not in found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Scenes, and the checkpoint of an untrained model."""
    root = tmp_path_factory.mktemp("statistics")
    sizes = dict(num_game=1, num_camera_train=3, num_camera_val=1, image_size=(128, 64))
    write_scenes(out_dir=root / "scenes", **sizes)
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict(MODES_ON_THE_BACKBONE)
    torch.manual_seed(0)
    weights = MODELS.build(cfg.model).state_dict()
    torch.save(dict(state_dict=weights, meta={}), root / "untrained.pth")
    return root


@pytest.fixture
def run(folder, monkeypatch, capsys):
    monkeypatch.setenv("MMDRSL_SCENES", str(folder / "scenes"))
    checkpoint = str(folder / "untrained.pth")
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict(MODES_ON_THE_BACKBONE)
    model = load_model(cfg, checkpoint)

    def call(*options, config=CONFIG):
        (option,) = (f"{name}={value}" for name, value in MODES_ON_THE_BACKBONE.items())
        overridden = ["--cfg-options", option] if config == CONFIG else []
        arguments = [config, checkpoint, *map(str, options), *overridden]
        monkeypatch.setattr(sys, "argv", ["tool", *arguments])
        compare_statistics.main()
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
        return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]

    return SimpleNamespace(call=call, model=model, cfg=cfg)


def test_a_line_for_every_weight(run):
    head, _, *lines = run.call("--target-weights", 0, 0.5, "--num-images", 2)
    assert head == ["weight of the target", "heads", "mirrored", "smaller", "entropy"]
    assert [line[0] for line in lines] == ["0.0", "0.5"]
    # Statistics change what the network says.
    assert lines[0][1:] != lines[1][1:]
    target = DATASETS.build(run.cfg.train_dataloader.dataset.target)
    model, equal = run.model.eval(), []
    with torch.no_grad():
        # The one between the two of the statistics.
        for image in images_of(model, target, [1]):
            maps = feature_maps(model.segmentor, image)
            size = tuple(image.shape[2:])
            head = model.heads["mmdl"]
            values = [model.segmentor.decode_head(maps), head.log_posterior(head(maps))]
            classes = [
                torch.nn.functional.interpolate(value, size=size, mode="bilinear")[0].argmax(0)
                for value in values
            ]
            equal.append((classes[0] == classes[1]).float().mean())
    assert float(lines[0][1]) == pytest.approx(100 * sum(equal).item(), abs=0.2)


@pytest.mark.parametrize(
    ("count", "num_images", "num_scored"), [(160, 64, 24), (10, 8, 5), (5, 9, 3)]
)
def test_scored_images_are_not_in_the_statistics(count, num_images, num_scored):
    taken = set(np.linspace(0, count - 1, min(num_images, count)).astype(int).tolist())
    scored = compare_statistics.held_out(count, num_images, num_scored)
    assert len(set(scored)) == len(scored) == min(num_scored, count - len(taken))
    assert not taken & set(scored)
    assert all(0 <= number < count for number in scored)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--num-images", 3), r"all 3 images of the target are in the statistics"),
        (("--target-weights", 1.5), r"--target-weights must be in [0, 1], found [1.5]"),
        (("--num-scored", 0), "must be at least 1"),
    ],
)
def test_bad_options_are_named(run, capsys, options, message):
    with pytest.raises(SystemExit):
        run.call(*options)
    assert message in capsys.readouterr().err


def test_a_config_without_a_target_is_refused(run, capsys):
    with pytest.raises(SystemExit):
        run.call(config=ORACLE)
    assert "has no train_dataloader.dataset.target" in capsys.readouterr().err
