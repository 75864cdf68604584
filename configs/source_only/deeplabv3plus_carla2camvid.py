"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, trained on the source alone, as long as its adapted twins: the lower bound.

python tools/train.py configs/source_only/deeplabv3plus_carla2camvid.py

Measured with seed 0 on one core: mIoU 33.4 (0006R0 32.3, 0016E5 32.4), 900 steps of about 1.2 s.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_mobilenetv2.py",
    "../_base_/datasets/carla2camvid.py",
    "../_base_/schedules/carla2camvid.py",
    "../_base_/default_runtime.py",
]
model = dict(
    segmentor=dict(
        backbone=dict(
            init_cfg=dict(
                type="Pretrained",
                checkpoint="{{$MMDRSL_BENCHMARK:data/benchmark}}/weights/mobilenet_v2_in1k.pth",
            )
        ),
        # MMSegmentation's cross entropy takes class weights only without avg_non_ignore.
        decode_head=dict(
            num_classes=10,
            loss_decode=dict(class_weight={{_base_.class_weight}}, avg_non_ignore=False),
        ),
    ),
    terms=dict(source=dict(type="SegmentationTerm", domain="source")),
)
