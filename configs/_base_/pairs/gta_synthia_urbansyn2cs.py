"""GTA5, SYNTHIA and UrbanSyn together (rendered, labeled) to Cityscapes (real, unlabeled), 19 classes.

Layout: as gta_synthia2cs.py, and data/urbansyn/{rgb,ss}. A third of the source images is of each world.
"""

_base_ = "gta_synthia2cs.py"
urbansyn_resize = dict(
    type="RandomResize", scale=(1024, 512), ratio_range=(1.0, 1.5), keep_ratio=True
)
urbansyn_dataset = dict(
    type="UrbanSynDataset",
    data_root=_base_.data_root + "/urbansyn",
    label_space=_base_.label_space,
    pipeline=[dict(type="LoadImage"), dict(type="LoadLabels"), urbansyn_resize, *_base_.crop],
)
train_dataloader = dict(
    dataset=dict(
        source=dict(
            datasets=[_base_.source_dataset, _base_.synthia_dataset, urbansyn_dataset],
            shares=[1, 1, 1],
        )
    )
)
benchmark = dict(folders=("gta5", "synthia", "urbansyn", "cityscapes"))
