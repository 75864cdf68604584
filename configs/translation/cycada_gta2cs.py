"""CyCADA's translator, GTA5 to Cityscapes: images of width 1024, crops of 400 x 400, as published.

python tools/train.py configs/translation/cycada_gta2cs.py                     # --amp on a GPU
python tools/translate_dataset.py configs/translation/cycada_gta2cs.py CHECKPOINT --out data/translated/gta2cs

Needs a segmentor trained on the source:
python tools/train.py configs/source_only/deeplabv3plus_gta2cs.py --work-dir work_dirs/source_only/deeplabv3plus_gta2cs
200,000 steps of one image of each domain, the second half with a falling learning rate (CycleGAN has 200 epochs of its
smaller set). Not run here: needs the full sets.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_r50.py",
    "../_base_/pairs/gta2cs.py",
    "../_base_/translators/cycada.py",
]
# Often changed: the segmentor that judges, the length of the training.
segmentor_checkpoint = "work_dirs/source_only/deeplabv3plus_gta2cs/iter_35000.pth"
max_iters = 200000
load_scale = (1024, 1024)
crop_size = (400, 400)
custom_imports = dict(imports=["mmdrsl", "mmdrsl.translation.cycada"], allow_failed_imports=False)
augmentation = [
    dict(type="Resize", scale=load_scale, keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(
    batch_size=2,
    sampler=dict(_delete_=True, type="UnpairedSampler"),
    dataset=dict(
        source=dict(pipeline=[dict(type="LoadImage"), dict(type="LoadLabels"), *augmentation]),
        target=dict(
            pipeline=[dict(type="LoadImage"), dict(type="LoadPseudoLabels"), *augmentation]
        ),
    ),
)
model = dict(
    _base_.translator,
    _delete_=True,
    semantic=dict(
        segmentor=dict(
            type="EncoderDecoder",
            data_preprocessor=dict(
                _base_.semantic_preprocessor,
                mean=_base_.model.data_preprocessor.mean,
                std=_base_.model.data_preprocessor.std,
            ),
            backbone=_base_.model.segmentor.backbone,
            decode_head=dict(_base_.model.segmentor.decode_head, num_classes=19),
            test_cfg=dict(mode="whole"),
        ),
        checkpoint=segmentor_checkpoint,
        weight=1.0,
        # Translations that are still noise teach nothing about classes.
        begin=10000,
        ramp=10000,
    ),
)
optim_wrapper = dict(_base_.translator_optimizers, _delete_=True)
# Constant for the first half, then linearly to 0.
param_scheduler = [
    dict(
        type="LinearLR",
        start_factor=1.0,
        end_factor=0.0,
        begin=max_iters // 2,
        end=max_iters,
        by_epoch=False,
    )
]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters)
# Nothing is evaluated while a translator trains; tools/analysis_tools/evaluate_translation.py does it afterwards.
val_cfg = None
val_dataloader = None
val_evaluator = None
test_cfg = None
test_dataloader = None
test_evaluator = None
default_hooks = dict(
    _base_.runtime_hooks,
    _delete_=True,
    samples=dict(type="SampleSheetHook", interval=max_iters // 20),
)
