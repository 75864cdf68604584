"""What a run takes out of a checkpoint, and what it refuses before its first step."""

import copy

import pytest
import torch
from mmengine.hooks import Hook

from mmdrsl.datasets.label_spaces import CITYSCAPES19, SYNTHIA16

CLASSIFIER = "segmentor.decode_head.conv_seg"
LABELED = dict(
    type="GTA5Dataset",
    label_space="cityscapes19",
    pipeline=[dict(type="LoadImage"), dict(type="LoadLabels"), dict(type="PackSegInputs")],
)


class NoStep(Hook):
    """A run that is about to be computed has got too far."""

    def before_train_iter(self, *args, **kwargs):
        raise AssertionError("a step")


@pytest.fixture
def begin(build, tmp_path):
    """Bring a run to its first step with a checkpoint."""

    def call(content=None, **options):
        if content is not None:
            torch.save(content, tmp_path / "given.pth")
            options["load_from"] = str(tmp_path / "given.pth")
        runner = build(tmp_path / "run", **options)
        runner.register_hook(NoStep(), priority="LOWEST")
        with pytest.raises(AssertionError, match="a step"):
            runner.train()
        return runner

    return call


@pytest.fixture
def weights(build, tmp_path):
    state = build(tmp_path / "other").model.state_dict()
    return {name: value.clone() + (name.endswith("weight")) for name, value in state.items()}


def noted(weights, classes=CITYSCAPES19.classes):
    return dict(state_dict=weights, meta=dict(dataset_meta=dict(classes=classes, palette=[])))


def test_what_fits_is_taken(begin, weights):
    runner = begin(noted(weights))
    assert all(torch.equal(runner.model.state_dict()[name], weights[name]) for name in weights)
    # Of other methods, and from a list.
    begin(noted({**weights, "heads.other.weight": torch.ones(1)}, list(CITYSCAPES19.classes)))
    # A plain segmentor's.
    plain = {name.removeprefix("segmentor."): value for name, value in weights.items()}
    begin(dict(state_dict=plain, meta=dict(CLASSES=CITYSCAPES19.classes)))


@pytest.mark.parametrize("part", ["missing", "unexpected", "reshaped", "nan", "empty", "foreign"])
def test_what_does_not_fit_is_refused(build, tmp_path, weights, part):
    name = f"{CLASSIFIER}.bias"
    content = noted(weights)
    if part == "missing":
        del weights[name]
    elif part == "unexpected":
        weights["segmentor.backbone.conv99.weight"] = torch.ones(1)
    elif part == "reshaped":
        weights[name] = torch.ones(3)
    elif part == "nan":
        weights[name][0] = torch.nan
    elif part == "empty":
        weights.clear()
    else:
        content = dict(epoch=3)
    torch.save(content, tmp_path / "given.pth")
    runner = build(tmp_path / "run", load_from=str(tmp_path / "given.pth"))
    with pytest.raises(ValueError, match=r"given\.pth"):
        runner.train()
    assert runner.iter == 0


def test_other_classes_start_anew_where_the_config_says_so(begin, build, tmp_path, weights):
    rest = SYNTHIA16.classes
    changed = copy.copy(weights)
    for kind in ("weight", "bias"):
        changed[f"{CLASSIFIER}.{kind}"] = weights[f"{CLASSIFIER}.{kind}"][: len(rest)]
    torch.save(noted(changed, rest), tmp_path / "given.pth")
    with pytest.raises(
        ValueError, match=r"classes of .*given\.pth differ from those of the training"
    ):
        build(tmp_path / "run", load_from=str(tmp_path / "given.pth")).train()
    runner = begin(noted(changed, rest), load_from_without=["decode_head.conv_seg"])
    own = runner.model.state_dict()
    name = "segmentor.backbone.conv1.weight"
    name = name if name in own else next(each for each in own if each.endswith("weight"))
    assert torch.equal(own[name], weights[name])
    # Another part that starts anew says nothing of the classes.
    options = {"load_from_without": ["backbone"], "load_from": str(tmp_path / "given.pth")}
    runner = build(tmp_path / "run", **options)
    with pytest.raises(ValueError, match="differ from those of the training"):
        runner.train()


def test_raw_ids_in_a_stock_validation_are_no_classes(build, scenes_root, tmp_path):
    """MMSegmentation's metric would pass over the ids beyond the classes, and count the others as classes."""
    dataset = dict(
        type="CityscapesDataset",
        data_root=str(scenes_root / "camera"),
        data_prefix=dict(img_path="leftImg8bit/val", seg_map_path="gtFine/val"),
        seg_map_suffix="_gtFine_labelIds.png",
        test_mode=True,
        pipeline=[
            dict(type=name) for name in ("LoadImageFromFile", "LoadAnnotations", "PackSegInputs")
        ],
    )
    sampler = dict(type="DefaultSampler", shuffle=False)
    options = dict(
        val_dataloader=dict(
            batch_size=1, num_workers=0, sampler=sampler, dataset=dataset, _delete_=True
        ),
        val_evaluator=dict(type="IoUMetric", iou_metrics=["mIoU"], _delete_=True),
        val_cfg=dict(type="ValLoop"),
    )
    with pytest.raises(
        ValueError, match=r"labelIds\.png of CityscapesDataset .* expected train ids"
    ):
        build(tmp_path, **options).train()


def test_a_resumed_run_takes_everything(train, build, tmp_path):
    short = {"train_cfg.max_iters": 4}
    train(tmp_path / "whole", **short)
    content = torch.load(tmp_path / "whole" / "iter_3.pth", weights_only=False)

    def resume():
        torch.save(content, tmp_path / "given.pth")
        options = dict(short, load_from=str(tmp_path / "given.pth"), resume=True)
        runner = build(tmp_path / "run", **options)
        runner._train_loop = runner.build_train_loop(runner._train_loop)
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        runner.load_or_resume()
        return runner

    assert resume().iter == 3
    del content["state_dict"][f"{CLASSIFIER}.bias"]
    with pytest.raises(ValueError, match=rf"given\.pth does not fit.* \({CLASSIFIER}\.bias\)"):
        resume()
    content = dict(state_dict=content["state_dict"], meta={})
    with pytest.raises(ValueError, match=r"given\.pth holds weights and no state of a training"):
        resume()


@pytest.mark.parametrize("data", ["val", "model"])
def test_data_and_model_number_the_classes_in_the_same_way(build, scenes_root, tmp_path, data):
    turned = dict(
        name="turned", classes=CITYSCAPES19.classes[::-1], palette=CITYSCAPES19.palette[::-1]
    )
    options = {"model.label_space": dict(turned, _delete_=True)}
    if data == "val":
        options = dict(
            val_cfg=dict(type="ValLoop"),
            val_evaluator=dict(type="ClassIoUMetric"),
            val_dataloader=dict(
                num_workers=0, sampler=dict(type="DefaultSampler", shuffle=False),
                dataset=dict(LABELED, _delete_=True, data_root=str(scenes_root / "game"), label_space=turned),
            ),
        )  # fmt: skip
    runner = build(tmp_path / "run", **options)
    other = "the validation data" if data == "val" else "the model"
    with pytest.raises(ValueError, match=f"{other} .*the same names in another order"):
        runner.train()
    assert runner.iter == 0
