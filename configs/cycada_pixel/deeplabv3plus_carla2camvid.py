"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, CyCADA's pixel level: trained on the translated source alone.

python tools/translate_dataset.py configs/translation/cycada_carla2camvid.py CHECKPOINT --out data/translated/carla2camvid
python tools/train.py configs/cycada_pixel/deeplabv3plus_carla2camvid.py

The first command may be any of the translators in docs/translation.md. Measured with seed 0 on one core, images by
CyCADA: mIoU 34.0 (0006R0 32.1, 0016E5 33.8), 900 steps of about 1.2 s.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_mobilenetv2_in1k.py",
    "../_base_/pairs/carla2camvid.py",
    "../_base_/methods/source_only.py",
]
title = "CyCADA, pixels"
model = {**_base_.method, **_base_.pair_model}
default_hooks = dict(_base_.runtime_hooks, _delete_=True)
translations = "data/translated/carla2camvid"
source = dict(type="TranslatedDataset", dataset=_base_.source_dataset, translations=translations)
train_dataloader = dict(dataset=dict(source=dict(source, _delete_=True)))
