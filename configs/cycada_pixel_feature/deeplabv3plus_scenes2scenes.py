"""Small DeepLabV3+ from scratch on the procedural scenes, CyCADA's two levels: translated images, class scores aligned.

python tools/translate_dataset.py configs/cycada/cycada_scenes2scenes.py CHECKPOINT --out data/translated/scenes2scenes
python tools/train.py configs/cycada_pixel_feature/deeplabv3plus_scenes2scenes.py --work-dir work_dirs/cycada_pixel_feature/deeplabv3plus_scenes2scenes

The first command may be any of the translators in docs/translation.md.
Not run here yet.
"""

_base_ = "../cycada_feature/deeplabv3plus_scenes2scenes.py"
# The translated set, and how often an image is drawn from it rather than from the original.
translations = "data/translated/scenes2scenes"
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
