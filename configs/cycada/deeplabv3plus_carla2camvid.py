"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, DRSL on the translated source: self-training with mode learning and alignment.

python tools/translate_dataset.py configs/cycada/cycada_carla2camvid.py CHECKPOINT --out data/translated/carla2camvid
python tools/train.py configs/cycada/deeplabv3plus_carla2camvid.py --work-dir work_dirs/cycada/deeplabv3plus_carla2camvid

The first command may be any of the translators in docs/translation.md. Not run here yet.
"""

_base_ = "../drsl/deeplabv3plus_carla2camvid.py"
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
