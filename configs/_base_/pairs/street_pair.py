"""What every pair of domains shares: the runtime, loaders, rounds of self-training, evaluation.

A pair gives ``source_dataset``, ``target_dataset``, a schedule, and ``pair_model``: what `UDASegmentor` has to know of it.
"""

_base_ = "../default_runtime.py"
multi_scale_tta = [
    dict(type="LoadImage"),
    dict(
        type="TestTimeAug",
        transforms=[
            [
                dict(type="Resize", scale_factor=ratio, keep_ratio=True)
                for ratio in (0.75, 1.0, 1.25)
            ],
            [
                dict(type="RandomFlip", prob=0.0, direction="horizontal"),
                dict(type="RandomFlip", prob=1.0, direction="horizontal"),
            ],
            [dict(type="LoadLabels")],
            [dict(type="PackSegInputs")],
        ],
    ),
]
tta_pipeline = multi_scale_tta
test_pipeline = [dict(type="LoadImage"), dict(type="LoadLabels"), dict(type="PackSegInputs")]
labeling_pipeline = [
    dict(type="LoadImage"),
    dict(type="PackSegInputs", meta_keys=("img_path", "ori_shape", "img_shape", "sample_id")),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=False,
    sampler=dict(type="TwoDomainSampler"),
    dataset=dict(type="TwoDomainDataset"),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="ClassIoUMetric")
test_evaluator = val_evaluator
