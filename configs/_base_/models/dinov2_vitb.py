"""DINOv2's ViT-B/14 (Oquab et al. 2024) with VFM-UDA's light decoder (Englert et al. 2024), four times the grid of patches.

Needs timm: pip install -e '.[vit]'. The backbone starts at random. Weights of the authors, of HuggingFace or timm are
downloaded by the user and given as they are with
    --cfg-options model.segmentor.backbone.init_cfg.type=Pretrained model.segmentor.backbone.init_cfg.checkpoint=FILE

Another plain transformer is another ``arch`` of timm. EVA-02 was trained with CLIP's mean and std of colors.
``tuning=lora``, ``soma``, ``rein`` or ``frozen`` train less of it, and ``with_cp=True`` saves memory.
"""

_base_ = "adaptor.py"
model = dict(
    segmentor=dict(
        # The decoder reads the last map, auxiliary classifiers the third.
        backbone=dict(type="PlainViT", arch="vit_base_patch14_dinov2", out_indices=[2, 5, 8, 11]),
        decode_head=dict(
            type="UpsamplingHead",
            channels=192,
            dropout_ratio=0.0,
            align_corners=False,
            loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True),
        ),
    ),
)
