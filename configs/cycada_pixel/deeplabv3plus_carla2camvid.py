"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, trained on the translated source alone.

python tools/translate_dataset.py configs/source_only/deeplabv3plus_carla2camvid.py fourier --out data/translated/carla2camvid
python tools/train.py configs/cycada_pixel/deeplabv3plus_carla2camvid.py --work-dir work_dirs/cycada_pixel/deeplabv3plus_carla2camvid

The first command may be any of the translators in docs/translation.md.
Measured with seed 0 on one core, images by CyCADA: mIoU 34.0 (0006R0 32.1, 0016E5 33.8), 900 steps of about 1.2 s.
"""

_base_ = "../source_only/deeplabv3plus_carla2camvid.py"
# The translated set, and how often an image is drawn from it rather than from the original.
translations = "data/translated/carla2camvid"
probability = 1.0
train_dataloader = dict(
    dataset=dict(
        source=dict(
            _delete_=True,
            type="TranslatedDataset",
            dataset={{_base_.source_dataset}},
            translations=translations,
            probability=probability,
        )
    )
)
