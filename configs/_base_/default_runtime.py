"""What every run shares: registration, seeds, logging, checkpoints that survive a kill, test-time augmentation."""

custom_imports = dict(imports=["mmdrsl"], allow_failed_imports=False)
default_scope = "mmseg"
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    dist_cfg=dict(backend="nccl"),
)
randomness = dict(seed=0)
vis_backends = [dict(type="LocalVisBackend")]
visualizer = dict(type="SegLocalVisualizer", vis_backends=vis_backends, name="visualizer")
log_processor = dict(by_epoch=False)
log_level = "INFO"
load_from = None
# Prefixes of weights that a training does not take from load_from: they start as initialized.
load_from_without = []
resume = False
# What a run without rounds, teacher or statistics of the target has.
runtime_hooks = dict(
    step_seed=dict(type="StepSeedHook"),
    finite_values=dict(type="FiniteValuesHook"),
    preflight=dict(type="PreflightHook"),
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="AtomicCheckpointHook", by_epoch=False, interval=500, max_keep_ckpts=1),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    after_step=dict(type="AfterStepHook"),
    buffers=dict(type="SharedBuffersHook"),
    class_names=dict(type="ClassNamesHook"),
    visualization=dict(type="PredictionDrawingHook"),
    readable_log=dict(type="ReadableLogHook"),
    report=dict(type="RunReportHook"),
)
default_hooks = runtime_hooks
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
tta_model = dict(type="SegTTAModel")
