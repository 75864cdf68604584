"""MMSegmentation's families, made small: a config of every folder of its zoo, by the recipe of docs/models.md."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from config_folders import BASES
from mmengine.runner import Runner
from run_tools import ROOT
from tested_page import table

from mmdrsl.datasets.unlabeled import WHOLE_IMAGE_PIPELINE
from mmdrsl.engine.launch import read_config
from mmdrsl.models.segmentors.completion import feature_channels, heads_of, parts_of
from mmdrsl.models.segmentors.support import check_kind
from mmdrsl.stock import ZOO

SIZE = (64, 64)
WIDTH = 32
PAGE = ROOT / "docs" / "models.md"
HEADING = "## Every family"
ABOUT = """\
Each was made narrow, and trained for two steps of warm-up and a round of two steps with labels of its own, by
self-training and by DRSL, on small images. `make test-full` writes this table once all of it passed.
"""
# LRASPPHead averages over 49 cells of stride 8.
LARGE = (400, 400)
METHODS = ("self_training", "drsl_short")
LEAF = """
_base_ = [{pair!r}, {method!r}]
from mmdrsl.stock import stock_model
model = {{**stock_model("mmseg::{stock}"), **_base_.method, **_base_.pair_model}}
default_hooks = _base_.get("method_hooks", dict())
"""
# Heads that the first config of no folder has.
FURTHER = (
    "fastfcn/fastfcn_r50-d32_jpu_psp_4xb2-80k_cityscapes-512x1024.py",
    "knet/knet-s3_r50-d8_upernet_8xb2-adamw-80k_ade20k-512x512.py",
    "ocrnet/ocrnet_r101-d8_4xb2-40k_cityscapes-512x1024.py",
    "segmenter/segmenter_vit-b_mask_8xb1-160k_ade20k-512x512.py",
    "setr/setr_vit-l_naive_8xb2-160k_ade20k-512x512.py",
    "setr/setr_vit-l_pup_8xb2-160k_ade20k-512x512.py",
    "twins/twins_pcpvt-s_fpn_fpnhead_8xb4-80k_ade20k-512x512.py",
)


def first_config(folder):
    """The config of a folder for street scenes or ADE20K with the shortest name."""
    return min(
        folder.glob("*.py"),
        key=lambda path: (not re.search("cityscapes|ade20k", path.name), len(path.name), path.name),
    )


FAMILIES = sorted(
    {
        first_config(folder).relative_to(ZOO).as_posix()
        for folder in ZOO.iterdir()
        if folder.is_dir() and not folder.name.startswith("_")
    }
    | set(FURTHER)
)


def _resnet(cfg):
    return dict(depth=18, stem_channels=8, base_channels=8)


def _vit(cfg):
    return dict(
        img_size=SIZE, embed_dims=WIDTH, num_layers=4, num_heads=2, out_indices=_of_four(cfg)
    )


def _of_four(cfg):
    found = cfg.get("out_indices", -1)
    return found if isinstance(found, int) else tuple(range(len(found)))


def _swin(cfg):
    return dict(embed_dims=8, depths=[1] * 4, num_heads=[1, 1, 2, 4])


def _pyramid(cfg):
    return dict(embed_dims=[8, 8, 16, 16], num_heads=[1, 1, 2, 2], depths=[1] * 4)


def _hrnet(cfg):
    return dict(
        extra={
            name: dict(
                stage,
                num_modules=1,
                num_blocks=(1,) * stage["num_branches"],
                num_channels=tuple(8 * 2**index for index in range(stage["num_branches"])),
            )
            for name, stage in cfg["extra"].items()
        }
    )


def _stdc(cfg):
    return dict(
        backbone_cfg=dict(cfg["backbone_cfg"], channels=(8, 8, 16, 32, 64)),
        last_in_channels=(64, 32),
        out_channels=16,
        ffm_cfg=dict(cfg["ffm_cfg"], in_channels=32, out_channels=32),
    )


# A backbone that is not named here keeps its width.
NARROW = {
    "ResNet": _resnet,
    "ResNetV1c": _resnet,
    "ResNetV1d": _resnet,
    "ResNeSt": lambda _: dict(depth=50, stem_channels=8, base_channels=8),
    "HRNet": _hrnet,
    "VisionTransformer": _vit,
    "BEiT": _vit,
    "MAE": _vit,
    "SwinTransformer": _swin,
    "ICNet": lambda cfg: dict(
        backbone_cfg=dict(cfg["backbone_cfg"], depth=18, stem_channels=8, base_channels=8),
        layer_channels=(16, 64),
        light_branch_middle_channels=8,
        psp_out_channels=16,
        out_channels=(8, 16, 16),
    ),
    "PCPVT": _pyramid,
    "SVT": _pyramid,
    "MixVisionTransformer": lambda _: dict(
        embed_dims=8, num_layers=[1] * 4, num_heads=[1, 1, 2, 4]
    ),
    "MSCAN": lambda _: dict(embed_dims=[8, 8, 16, 16], depths=[1] * 4),
    "UNet": lambda _: dict(base_channels=4),
    "DDRNet": lambda _: dict(channels=8, ppm_channels=8),
    "PIDNet": lambda _: dict(channels=8, ppm_channels=8, num_stem_blocks=1, num_branch_blocks=1),
    "STDCContextPathNet": _stdc,
    "CGNet": lambda _: dict(num_blocks=(1, 1)),
}
# Widths inside of heads and necks.
WIDTHS = (
    "c1_channels",
    "ema_channels",
    "feedforward_channels",
    "ham_channels",
    "isa_channels",
    "mid_channels",
    "ocr_channels",
    "pam_channels",
    "project_channels",
)


def _without_weights(part):
    """The same config without files of weights."""
    if isinstance(part, list | tuple):
        return type(part)(_without_weights(each) for each in part)
    if not isinstance(part, dict):
        return part
    return {
        key: _without_weights(value)
        for key, value in part.items()
        if key not in ("pretrained", "init_cfg")
    }


def _narrow_neck(neck, channels):
    for key in {"in_channels", "embed_dim"} & neck.keys():
        several = isinstance(neck[key], list | tuple)
        neck[key] = type(neck[key])(channels) if several else channels[0]
    neck.update({key: WIDTH for key in ("out_channels", *WIDTHS) if key in neck})


def _narrow_head(head, channels):
    for part in parts_of(head):
        index, given = part.get("in_index", -1), part.get("in_channels")
        if isinstance(given, list | tuple) and not isinstance(index, list | tuple):
            # It chooses its maps by itself.
            part["in_channels"] = channels[: len(given)]
        else:
            part.pop("in_channels", None)
        widths = dict.fromkeys(("channels", "embed_dims", *WIDTHS), WIDTH)
        widths |= dict(
            c1_in_channels=channels[0],
            mla_channels=WIDTH // 4,
            num_heads=2,
            post_process_channels=[WIDTH] * 4,
        )
        if part.get("num_convs") == 0:
            # It classifies what it reads.
            widths["channels"] = channels[index]
        part.update({key: value for key, value in widths.items() if key in part})
        if part["type"] == "KernelUpdateHead":
            part.update(in_channels=WIDTH, out_channels=WIDTH)
            part["kernel_updator_cfg"].update(
                in_channels=WIDTH, feat_channels=WIDTH, out_channels=WIDTH
            )


def narrow(segmentor):
    """Make a stock segmentor's config narrow and without weights.

    Args:
        segmentor: The config, changed in place.
    """
    plain = _without_weights(segmentor.to_dict())
    backbone = plain["backbone"]
    change = NARROW.get(backbone["type"])
    if change is not None:
        backbone.update(change(backbone))
    if plain["test_cfg"]["mode"] == "slide":
        plain["test_cfg"] = dict(mode="slide", crop_size=SIZE, stride=(42, 42))
    if plain.get("neck"):
        channels = feature_channels(dict(plain, neck=None), SIZE).predicting
        _narrow_neck(plain["neck"], channels)
    channels = feature_channels(plain, SIZE).predicting
    for head in heads_of(plain):
        _narrow_head(head, channels)
    segmentor.clear()
    segmentor.update(plain)


def composed(folder, stock, method):
    """The recipe's config of a stock model, the small scenes and a method, for four steps, narrow."""
    stem = f"{Path(stock).stem}_{method}"
    path = folder / f"{stem}.py"
    path.write_text(
        LEAF.format(
            pair=str(BASES / "pairs" / "scenes2scenes.py"),
            method=str(BASES / "methods" / f"{method}.py"),
            stock=stock,
        )
    )
    cfg = read_config(path)
    _shorten(cfg, folder, stem)
    try:
        check_kind(cfg.model.segmentor)
    except TypeError:
        # Nothing is made small of what is refused.
        return cfg
    narrow(cfg.model.segmentor)
    if method == "drsl_short":
        cfg.custom_hooks[0].interval = 1
        if "Segmenter" in str(cfg.model.segmentor.decode_head):
            # Its classifier is the product of two embeddings.
            cfg.model.heads.mmdl.in_index = -1
    if any(loss.get("use_sigmoid") for loss in _losses(cfg.model.segmentor.decode_head)):
        # MMSegmentation's loss of sigmoids takes no class weights.
        cfg.model.class_weight = None
    if "PIDHead" in str(cfg.model.segmentor.decode_head):
        pipeline = cfg.train_dataloader.dataset.source.pipeline
        pipeline.insert(len(pipeline) - 1, dict(type="GenerateEdge", edge_width=4))
    return cfg


def _losses(head):
    found = head.get("loss_decode", ()) if isinstance(head, dict) else ()
    return [found] if isinstance(found, dict) else found


def _shorten(cfg, folder, stem):
    """Two steps of warm-up, and a round of two."""
    is_large = "LRASPPHead" in str(cfg.model.segmentor.decode_head)
    size = LARGE if is_large else SIZE
    scale = (2 * size[1], size[0])
    cfg.model.crop_size = size
    for domain in ("source", "target"):
        for transform in cfg.train_dataloader.dataset[domain].pipeline:
            if transform.type == "RandomResize":
                transform.scale = scale
            elif transform.type == "RandomCrop":
                transform.crop_size = size
    cfg.train_dataloader.batch_size = 4
    cfg.train_cfg.update(max_iters=4, val_interval=9)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    hooks = cfg.default_hooks
    hooks.pop("adabn")
    hooks.teacher.begin = 2
    hooks.self_training.update(
        warmup_iterations=2,
        rounds=[dict(iterations=2, portion=0.5, target_share=0.5)],
        evaluate_rounds=False,
    )
    # After two steps a network is sure of nothing.
    policy = dict(hooks.self_training.labeler.get("policy", {}), lowest_threshold=0.01)
    hooks.self_training.labeler.update(policy=policy, prediction_stride=4)
    if is_large:
        load, pack = WHOLE_IMAGE_PIPELINE
        hooks.self_training.pipeline = [load, dict(type="Resize", scale=scale), pack]
    hooks.logger.interval = 1
    # A checkpoint costs more than a step.
    hooks.checkpoint.update(interval=9, save_last=False)
    cfg.work_dir = str(folder / "run")
    cfg.experiment_name = f"{stem}_{time.time_ns()}"
    # MMEngine keeps one visualizer of a name, with its folder.
    cfg.visualizer.update(name=cfg.experiment_name, vis_backends=[])
    cfg.log_level = "ERROR"


@dataclass(frozen=True)
class Outcome:
    """What became of a family.

    Attributes:
        kind: ``adapts``, ``refused`` or ``needs a package``.
        reason: Why it does not adapt.
    """

    kind: str
    reason: str = ""


def outcome_of(folder, stock, method):
    """Train for four steps, or say why that is not possible; any other error is a fault.

    Returns:
        The outcome, and the runner where the family adapts.
    """
    try:
        cfg = composed(folder, stock, method)
        runner = Runner.from_cfg(cfg)
    except Exception as error:
        missing = re.search(
            r"(?:No module named|Failed to import custom modules.*?|[Pp]lease install\D*?)\W*"
            r"(mmpretrain|mmdet|onedl-mmcv|mmcv|timm|ldm)",
            str(error),
        )
        if missing:
            package = "compiled mmcv.ops" if "mmcv" in missing[1] else missing[1]
            return Outcome("needs a package", package), None
        if isinstance(error, TypeError) and "cannot be adapted" in str(error):
            return Outcome("refused", str(error).removesuffix(" (docs/models.md).")), None
        raise
    runner.train()
    return Outcome("adapts"), runner


def page_with(outcomes):
    """The page of models with these outcomes, or None as long as one is missing.

    Args:
        outcomes: Outcome by pairs of family and method.
    """
    if outcomes.keys() != {(name, method) for name in FAMILIES for method in METHODS}:
        return None
    rows = [["config of MMSegmentation", "outcome", "reason"], ["---"] * 3]
    for name in FAMILIES:
        first, second = (outcomes[name, method] for method in METHODS)
        if first != second:
            return None
        rows.append([name.removesuffix(".py"), first.kind, first.reason])
    before = PAGE.read_text(encoding="utf-8").split(HEADING)[0]
    return f"{before}{HEADING}\n\n{ABOUT}\n{table(rows)}"
