"""GTA5 and SYNTHIA together (rendered, labeled) to Cityscapes (real, unlabeled), 19 classes.

Layout: data/gta5/{images,labels}, data/synthia/{RGB,GT/LABELS}, and Cityscapes as cityscapes_target.py describes. Half of
the source images are of either world. SYNTHIA never shows terrain, truck and train.
"""

_base_ = "gta2cs.py"
synthia_resize = dict(
    type="RandomResize", scale=(1280, 760), ratio_range=(0.9, 1.5), keep_ratio=True
)
synthia_dataset = dict(
    type="SYNTHIADataset",
    data_root=_base_.data_root + "/synthia",
    label_space=_base_.label_space,
    pipeline=[dict(type="LoadImage"), dict(type="LoadLabels"), synthia_resize, *_base_.crop],
)
train_dataloader = dict(
    dataset=dict(
        source=dict(
            _delete_=True,
            type="LabeledSets",
            datasets=[_base_.source_dataset, synthia_dataset],
            shares=[0.5, 0.5],
        )
    )
)
benchmark = dict(folders=("gta5", "synthia", "cityscapes"))
