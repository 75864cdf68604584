"""Small DeepLabV3+ from scratch on the procedural scenes, trained on the translated source alone.

python tools/translate_dataset.py configs/source_only/deeplabv3plus_scenes2scenes.py fourier --out data/translated/scenes2scenes
python tools/train.py configs/cycada_pixel/deeplabv3plus_scenes2scenes.py --work-dir work_dirs/cycada_pixel/deeplabv3plus_scenes2scenes

The first command may be any of the translators in docs/translation.md.
Not run here yet.
"""

_base_ = "../source_only/deeplabv3plus_scenes2scenes.py"
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
