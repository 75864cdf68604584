"""DeepLabV3+ (ResNet-50), GTA5 to Cityscapes, CyCADA's two levels: translated images, class scores aligned.

python tools/translate_dataset.py configs/cycada/cycada_gta2cs.py CHECKPOINT --out data/translated/gta2cs
python tools/train.py configs/cycada_pixel_feature/deeplabv3plus_gta2cs.py --work-dir work_dirs/cycada_pixel_feature/deeplabv3plus_gta2cs

The first command may be any of the translators in docs/translation.md.
Not run here: needs the full sets.
"""

_base_ = "../cycada_feature/deeplabv3plus_gta2cs.py"
# The translated set, and how often an image is drawn from it rather than from the original.
translations = "data/translated/gta2cs"
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
