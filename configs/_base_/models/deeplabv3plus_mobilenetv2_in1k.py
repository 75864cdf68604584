"""DeepLabV3+ on MobileNetV2 with the ImageNet weights of the benchmark of CARLA to CamVid.

The file lies in the data folder of that benchmark: data/benchmark, or the folder that MMDRSL_BENCHMARK names.
"""

_base_ = "deeplabv3plus_mobilenetv2.py"
model = dict(
    segmentor=dict(
        backbone=dict(
            init_cfg=dict(
                type="Pretrained",
                checkpoint="{{$MMDRSL_BENCHMARK:data/benchmark}}/weights/mobilenet_v2_in1k.pth",
            )
        )
    )
)
