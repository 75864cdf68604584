"""A segmentor as an ONNX file: image in, labels and logits out, normalization inside."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmdrsl.atomic_files import DiskFullError, replacing
from mmdrsl.inference.network import Network

# Share of pixels that onnxruntime must label as PyTorch does.
LEAST_AGREEMENT = 0.999
# The first one that the network allows is taken.
_DYNAMIC = (("batch", "height", "width"), ("batch",), ())
_AXES = {"batch": 0, "height": 2, "width": 3}


@dataclass(frozen=True, kw_only=True)
class OnnxFile:
    """What was written.

    Attributes:
        path: The file.
        size: (height, width) of the images, where these are fixed.
        dynamic: Which of ``batch``, ``height`` and ``width`` a caller chooses; the batch is 1 where it does not.
        agreement: Share of pixels (0..1) with the label that PyTorch gives.
    """

    path: Path
    size: tuple[int, int]
    dynamic: tuple[str, ...]
    agreement: float

    def describe(self) -> str:
        """One sentence on sizes and check."""
        height, width = self.size
        batch = "any batch" if "batch" in self.dynamic else "batch 1"
        size = "any size" if "height" in self.dynamic else f"fixed size {height} x {width} (H x W)"
        share = f"{100 * self.agreement:.3f}"
        return f"{batch}, {size}; onnxruntime and PyTorch agree on {share} % of pixels"


class ImageToLabels(nn.Module):
    """A segmentor between its normalization and its labels.

    Args:
        network: The network in evaluation mode on the CPU.

    Raises:
        ValueError: Its test pads images to one size.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.segmentor = network.segmentor
        preprocessor = network.model.data_preprocessor
        # The test loads blue, green, red; a network without that conversion reads it so.
        self.reads_rgb = bool(preprocessor._channel_conversion)
        one = torch.ones(3, 1, 1)
        self.register_buffer("mean", getattr(preprocessor, "mean", 0 * one).clone())
        self.register_buffer("std", getattr(preprocessor, "std", one).clone())
        padding = preprocessor.test_cfg or {}
        if padding.get("size") is not None:
            raise ValueError(
                f"data_preprocessor.test_cfg pads to size={padding['size']}; an ONNX file pads to multiples of "
                "size_divisor only: give model.data_preprocessor.test_cfg=dict(size_divisor=...), or leave --onnx out."
            )
        self.divisor = int(padding.get("size_divisor") or 1)
        self.padding = float(preprocessor.pad_val)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Label images as MMSegmentation's test does in mode ``whole``.

        Args:
            image: Red, green, blue, 0..255, shape (N, 3, H, W), uint8.

        Returns:
            Labels, shape (N, H, W), uint8; logits, shape (N, C, H, W).
        """
        height, width = image.shape[2:]
        image = image.float()
        image = image if self.reads_rgb else image.flip(1)
        image = (image - self.mean) / self.std
        if self.divisor > 1:
            padding = (0, -width % self.divisor, 0, -height % self.divisor)
            image = F.pad(image, padding, value=self.padding)
        size = image.shape[2:]
        logits = self.segmentor.encode_decode(image, [dict(ori_shape=size, img_shape=size)])
        logits = logits[:, :, :height, :width]
        return logits.argmax(dim=1).to(torch.uint8), logits


def write_onnx(network: Network, path: Path, *, size: Sequence[int]) -> OnnxFile:
    """Write the file and compare it with PyTorch by onnxruntime.

    Batch and size are free where the network allows it, else the batch alone, else neither.

    Args:
        network: The network on the CPU.
        path: Where to write.
        size: (height, width) in pixels of images of a fixed size.

    Returns:
        What was written.

    Raises:
        DiskFullError: The disk is full.
        ImportError: A package of the extra ``export`` is missing.
        ValueError: The network cannot be written as ONNX, or onnxruntime labels more than one pixel in a thousand
            unlike the model's test of whole images.
    """
    _check_packages()
    model = ImageToLabels(network).eval()
    height, width = size
    reasons = []
    for dynamic in _DYNAMIC:
        # Two equal sizes would be taken for one.
        shown = (height, width + 32) if "width" in dynamic else (height, width)
        example = _images(2 if "batch" in dynamic else 1, shown, seed=0)
        others = [example]
        if "batch" in dynamic:
            others.append(_images(1, shown, seed=1))
        if "height" in dynamic:
            others.append(_images(1, (height + 40, width + 8), seed=2))
        try:
            with _quiet(), replacing(path) as temporary:
                _write(model, example, dynamic, temporary, network)
                agreement = min(_agreement(network, temporary, images) for images in others)
                if agreement < LEAST_AGREEMENT:
                    raise ValueError(
                        f"onnxruntime and PyTorch agree on {100 * agreement:.2f} % of pixels"
                    )
        except DiskFullError:
            raise
        except Exception as error:
            # Exporter and runtime refuse networks in many ways; each is a reason to try the next.
            reasons.append(f"{dynamic or 'fixed'}: {type(error).__name__}: {error}".split("\n")[0])
            continue
        return OnnxFile(path=path, size=(height, width), dynamic=dynamic, agreement=agreement)
    raise ValueError(
        f"{type(network.segmentor).__name__} cannot be written as ONNX ({'; '.join(reasons)}). Leave --onnx out."
    )


def _check_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"--onnx needs the package {error.name}. Run: pip install 'mmdrsl[export]'"
        ) from error


def _write(
    model: ImageToLabels, example: Tensor, dynamic: Sequence[str], path: Path, network: Network
) -> None:
    axes = {_AXES[name]: torch.export.Dim.DYNAMIC for name in dynamic}
    with torch.no_grad():
        exported = torch.export.export(
            model, (example,), dynamic_shapes={"image": axes}, strict=False
        )
    program = torch.onnx.export(
        exported,
        input_names=["image"],
        output_names=["labels", "logits"],
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise ValueError("the exporter returned nothing")
    program.model.metadata_props["classes"] = json.dumps(network.classes)
    program.model.metadata_props["palette"] = json.dumps(network.palette)
    program.save(path)


def _agreement(network: Network, path: Path, images: Tensor) -> float:
    """Share of pixels that onnxruntime labels as the model's test does."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    labels = session.run(["labels"], {"image": images.numpy()})[0]
    expected = _labels_of_test(network, images)
    return float((torch.from_numpy(labels) == expected).float().mean())


@torch.no_grad()
def _labels_of_test(network: Network, images: Tensor) -> Tensor:
    """Labels (N, H, W) that the model's test step gives whole images."""
    size = tuple(images.shape[2:])
    samples = [SegDataSample(metainfo=dict(ori_shape=size, img_shape=size)) for _ in images]
    configured = network.segmentor.test_cfg
    network.segmentor.test_cfg = ConfigDict(configured, mode="whole")
    try:
        # It takes blue, green, red.
        batch = dict(inputs=list(images.flip(1)), data_samples=samples)
        found = network.model.test_step(batch)
    finally:
        network.segmentor.test_cfg = configured
    return torch.stack([sample.pred_sem_seg.data[0] for sample in found])


def _images(number: int, size: Sequence[int], *, seed: int) -> Tensor:
    """Smooth images, shape (N, 3, H, W), uint8."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(number, 3, 8, 8, generator=generator)
    return (255 * F.interpolate(coarse, size=tuple(size), mode="bicubic").clamp(0, 1)).byte()


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what the exporter says while it tries."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
