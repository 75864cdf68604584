"""Small DeepLabV3+ from scratch, the procedural scenes, CyCADA's two levels: translated images, class scores aligned.

python tools/translate_dataset.py configs/translation/cycada_scenes2scenes.py CHECKPOINT --out data/translated/scenes2scenes
python tools/train.py configs/cycada/deeplabv3plus_scenes2scenes.py

The first command may be any of the translators in docs/translation.md. Not run here yet.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_small.py",
    "../_base_/pairs/scenes2scenes.py",
    "../_base_/methods/cycada_feature.py",
]
title = "CyCADA"
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
translations = "data/translated/scenes2scenes"
source = dict(type="TranslatedDataset", dataset=_base_.source_dataset, translations=translations)
train_dataloader = dict(dataset=dict(source=dict(source, _delete_=True)))
