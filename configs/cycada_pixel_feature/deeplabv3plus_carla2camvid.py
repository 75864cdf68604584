"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, CyCADA's two levels: translated images, class scores aligned.

python tools/translate_dataset.py configs/cycada/cycada_carla2camvid.py CHECKPOINT --out data/translated/carla2camvid
python tools/train.py configs/cycada_pixel_feature/deeplabv3plus_carla2camvid.py --work-dir work_dirs/cycada_pixel_feature/deeplabv3plus_carla2camvid

The first command may be any of the translators in docs/translation.md. Measured with seed 0, CyCADA's own translator
and without the averaged teacher (tools/run_benchmark.py) on one core: mIoU 28.9
(0006R0 30.1, 0016E5 25.3), 900 steps of about 1.2 s.
"""

_base_ = "../cycada_feature/deeplabv3plus_carla2camvid.py"
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
