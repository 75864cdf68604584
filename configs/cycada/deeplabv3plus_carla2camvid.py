"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, CyCADA's two levels: translated images, class scores aligned.

python tools/translate_dataset.py configs/translation/cycada_carla2camvid.py CHECKPOINT --out data/translated/carla2camvid
python tools/train.py configs/cycada/deeplabv3plus_carla2camvid.py

The first command may be any of the translators in docs/translation.md. Measured with seed 0, CyCADA's own translator
and without the averaged teacher (tools/run_benchmark.py) on one core: mIoU 28.9 (0006R0 30.1, 0016E5 25.3), 900 steps
of about 1.2 s.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_mobilenetv2_in1k.py",
    "../_base_/pairs/carla2camvid.py",
    "../_base_/methods/cycada_feature.py",
]
title = "CyCADA"
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
translations = "data/translated/carla2camvid"
source = dict(type="TranslatedDataset", dataset=_base_.source_dataset, translations=translations)
train_dataloader = dict(dataset=dict(source=dict(source, _delete_=True)))
