"""CyCADA's translator, CARLA to CamVid, small enough for a CPU: images of width 320, crops of 96 x 192.

python tools/train.py configs/translation/cycada_carla2camvid.py
python tools/translate_dataset.py configs/translation/cycada_carla2camvid.py CHECKPOINT --out data/translated/carla2camvid

Needs a segmentor trained on the source:
python tools/train.py configs/source_only/deeplabv3plus_carla2camvid.py --work-dir work_dirs/source_only/deeplabv3plus_carla2camvid
Run with seed 0: 1,200 steps, 17 minutes on a core beside other work; 0.5 s per step on a free core.
What came of it is in docs/translation.md.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_mobilenetv2.py",
    "../_base_/pairs/carla2camvid.py",
    "../_base_/translators/cycada.py",
]
# Often changed: the segmentor that judges, the size of the networks, the length of the training.
segmentor_checkpoint = "work_dirs/source_only/deeplabv3plus_carla2camvid/iter_900.pth"
base_channels = 16
num_blocks = 4
max_iters = 1200
# Images keep their width of 320. Crops are tall and narrow, so that most show sky and road: normalized by its own
# statistics, a crop of road alone soon becomes sky.
load_scale = (320, 240)
crop_size = (192, 96)
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
    generator=dict(
        _base_.translator.generator,
        # Begins as the identity: a training this short does not make MMagic's ResnetGenerator sharp.
        type="mmagic.ShortcutGenerator",
        base_channels=base_channels,
        num_blocks=num_blocks,
    ),
    discriminator=dict(
        _base_.translator.discriminator,
        base_channels=base_channels,
        # One group: normalized channel by channel, a discriminator sees little of color and brightness.
        norm_cfg=dict(type="GN", num_groups=1),
    ),
    # From the identity on, TLLib's weights hold a translation where it begins: absolute differences cost the most per
    # step where they are smallest. The shortcut keeps the content instead.
    cycle_weight=1.0,
    identity_weight=0.0,
    semantic=dict(
        segmentor=dict(
            type="EncoderDecoder",
            data_preprocessor=dict(
                _base_.semantic_preprocessor,
                mean=_base_.model.data_preprocessor.mean,
                std=_base_.model.data_preprocessor.std,
            ),
            backbone=_base_.model.segmentor.backbone,
            decode_head=dict(_base_.model.segmentor.decode_head, num_classes=10),
            test_cfg=dict(mode="whole"),
        ),
        checkpoint=segmentor_checkpoint,
        weight=1.0,
        begin=0,
        ramp=200,
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
