"""DeepLabV3+ (ResNet-50), GTA5 to Cityscapes, CyCADA's pixel level: trained on the translated source alone.

python tools/translate_dataset.py configs/translation/cycada_gta2cs.py CHECKPOINT --out data/translated/gta2cs
python tools/train.py configs/cycada_pixel/deeplabv3plus_gta2cs.py

The first command may be any of the translators in docs/translation.md. Not run here yet.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_r50.py",
    "../_base_/pairs/gta2cs.py",
    "../_base_/methods/source_only.py",
]
title = "CyCADA, pixels"
model = {**_base_.method, **_base_.pair_model}
default_hooks = dict(_base_.runtime_hooks, _delete_=True)
translations = "data/translated/gta2cs"
source = dict(type="TranslatedDataset", dataset=_base_.source_dataset, translations=translations)
train_dataloader = dict(dataset=dict(source=dict(source, _delete_=True)))
