"""Convert ImageNet weights of torchvision or timm for the backbones of the configs.

Example:
    python tools/model_converters/convert_backbone.py vgg16_bn.pth --arch vgg16_bn \
        --out weights/vgg16_bn.pth --verify
"""

import argparse
from pathlib import Path

from mmdrsl.engine.launch import add_trust_option, run_tool
from mmdrsl.models.backbones.weight_conversion import BACKBONES, convert_file


def main() -> None:
    """Read the arguments and convert one file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "source",
        metavar="SRC",
        type=Path,
        help="local checkpoint, .pth or .safetensors, in torchvision, timm or MMSegmentation names",
    )
    parser.add_argument("--arch", required=True, choices=BACKBONES, help="architecture of SRC")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="file to write")
    parser.add_argument(
        "--verify", action="store_true", help="also load the result strictly into the backbone"
    )
    add_trust_option(parser)
    args = parser.parse_args()
    convert_file(args.source, args.arch, args.out, verify=args.verify)
    print(f"wrote {args.out} for backbone {BACKBONES[args.arch]['type']}")


if __name__ == "__main__":
    run_tool("convert-backbone", main)
