from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn
from torch.utils.data import Dataset

from mmdrsl.checkpoints import read_checkpoint
from mmdrsl.engine.hooks.mean_teacher_hook import MeanTeacherHook
from mmdrsl.models.segmentors.export import export_segmentor

CLASSES, SIZE = 3, 16
MODEL = dict(
    type="UDASegmentor",
    data_preprocessor=dict(
        type="UDADataPreprocessor", mean=[0.0] * 3, std=[1.0] * 3, size=(SIZE, SIZE)
    ),
    segmentor=dict(
        type="EncoderDecoder",
        backbone=dict(
            type="ResNet", depth=18, stem_channels=4, base_channels=4, strides=(1, 1, 1, 1),
            dilations=(1, 1, 1, 1), norm_cfg=dict(type="BN"), norm_eval=False,
        ),
        decode_head=dict(
            type="FCNHead", in_channels=32, in_index=3, channels=8, num_convs=1,
            num_classes=CLASSES, dropout_ratio=0.1, norm_cfg=dict(type="BN"), align_corners=False,
            loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True),
        ),
        train_cfg=dict(),
        test_cfg=ConfigDict(mode="whole"),
    ),
    heads=dict(mmdl=dict(type="MMDLHead", in_channels=32, num_classes=CLASSES, embedding_dim=4,
                         hidden_channels=4)),
    terms=dict(
        source=dict(type="SegmentationTerm", domain="source"),
        metric=dict(type="ModeMetricTerm", domain="source"),
    ),
)  # fmt: skip


class Blocks(Dataset):
    def __len__(self):
        return 50

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        labels = torch.randint(CLASSES, (1, 4, 4), generator=generator)
        labels = labels.repeat_interleave(4, 1).repeat_interleave(4, 2)
        sample = SegDataSample(gt_sem_seg=PixelData(data=labels))
        sample.set_metainfo(dict(domain="source", img_shape=(SIZE, SIZE), ori_shape=(SIZE, SIZE)))
        image = labels.repeat(3, 1, 1).float() + torch.randn(3, SIZE, SIZE, generator=generator)
        return dict(inputs=image, data_samples=sample)


class Recorder(Hook):
    """Keeps the student's state after every step, before the teacher sees it."""

    priority = "HIGH"

    def __init__(self):
        self.states = []

    def before_train(self, runner):
        runner.model.eval()
        runner.model.train()
        self.start = clone(runner.model.networks())

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.states.append(clone(runner.model.networks()))


def clone(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def train(work_dir, iterations, *, resume=False, load_from=None, **teacher):
    MMLogger._instance_dict.clear()
    recorder = Recorder()
    runner = Runner(
        model=MODEL,
        work_dir=str(work_dir),
        experiment_name=f"{Path(work_dir).name}_{iterations}_{resume}_{len(str(load_from))}",
        train_dataloader=dict(
            batch_size=2, num_workers=0, dataset=Blocks(),
            sampler=dict(type="InfiniteSampler", shuffle=False), collate_fn=pseudo_collate,
        ),
        train_cfg=dict(type="IterBasedTrainLoop", max_iters=iterations),
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-2)),
        default_hooks=dict(
            logger=None,
            step_seed=dict(type="StepSeedHook"),
            teacher=dict(type="MeanTeacherHook", **teacher),
            checkpoint=dict(type="AtomicCheckpointHook", by_epoch=False, interval=3),
        ),
        custom_hooks=[recorder],
        default_scope="mmseg",
        log_level="ERROR",
        randomness=dict(seed=3),
        resume=resume,
        load_from=load_from,
    )  # fmt: skip
    runner.train()
    return runner, recorder


def expected_teacher(states, momentum_of_step, *, buffers, parameters):
    """The recursion, by hand; the first state is copied."""
    teacher = {name: value.clone() for name, value in states[0].items()}
    for step, state in enumerate(states[1:], 1):
        for name, value in state.items():
            if not value.is_floating_point():
                continue
            if name in parameters or buffers:
                momentum = momentum_of_step(step)
                teacher[name] = (1 - momentum) * teacher[name] + momentum * value
            else:
                teacher[name] = value.clone()
    return teacher


@pytest.mark.parametrize("buffers", [True, False])
@pytest.mark.parametrize(
    ("average", "momentum"),
    [
        (dict(type="ExponentialMovingAverage", momentum=0.25), lambda step: 0.25),
        (dict(type="MomentumAnnealingEMA", momentum=0.25, gamma=1), lambda s: max(0.25, 1 / (s + 1))),
    ],
)  # fmt: skip
def test_teacher_is_the_average_of_the_students(tmp_path, average, momentum, buffers):
    runner, recorder = train(tmp_path, 6, average=dict(average, update_buffers=buffers))
    parameters = dict(runner.model.networks().named_parameters())
    wanted = expected_teacher(recorder.states, momentum, buffers=buffers, parameters=parameters)
    found = runner.model.teacher.module.state_dict()
    assert runner.model.teacher.steps == 6
    assert found.keys() == wanted.keys()
    assert "heads.mmdl.representatives" in found
    for name, value in wanted.items():
        if value.is_floating_point():
            torch.testing.assert_close(found[name], value)
    moved = "segmentor.backbone.bn1.running_mean"
    assert torch.equal(found[moved], recorder.states[-1][moved]) is not buffers
    optimized = {id(p) for group in runner.optim_wrapper.param_groups for p in group["params"]}
    assert not any(id(p) in optimized or p.requires_grad for p in runner.model.teacher.parameters())


def test_resumed_teacher_is_exact(tmp_path):
    whole, _ = train(tmp_path / "whole", 6)
    train(tmp_path / "parts", 3)
    resumed, _ = train(tmp_path / "parts", 6, resume=True)
    assert resumed.model.teacher.steps == 6
    expected, found = whole.model.state_dict(), resumed.model.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_run_that_begins_with_a_warm_up_without_a_teacher_is_the_whole_run(tmp_path):
    # Otherwise the teacher would begin one step late, as a copy of the next student.
    whole, _ = train(tmp_path / "whole", 6, begin=3)
    train(tmp_path / "warmup", 3, begin=100)
    shared = tmp_path / "shared.pth"
    checkpoint = read_checkpoint(tmp_path / "warmup/iter_3.pth")
    for name in [name for name in checkpoint["state_dict"] if name.startswith("teacher.")]:
        del checkpoint["state_dict"][name]
    torch.save(checkpoint, shared)
    run, _ = train(tmp_path / "run", 6, begin=3, resume=True, load_from=str(shared))
    assert whole.model.teacher.steps == run.model.teacher.steps == 4
    expected, found = whole.model.state_dict(), run.model.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_teacher_is_the_student_until_it_begins(tmp_path):
    runner, recorder = train(tmp_path, 4, begin=5)
    assert runner.model.teacher.steps == 0
    found = runner.model.networks(of_teacher=True)
    assert found["segmentor"] is runner.model.segmentor
    runner, recorder = train(tmp_path / "begun", 6, begin=4, average=dict(
        type="ExponentialMovingAverage", momentum=0.5))  # fmt: skip
    assert runner.model.teacher.steps == 3
    wanted = expected_teacher(
        recorder.states[3:], lambda _: 0.5, buffers=False,
        parameters=dict(runner.model.networks().named_parameters()),
    )  # fmt: skip
    for name, value in wanted.items():
        if value.is_floating_point():
            torch.testing.assert_close(runner.model.teacher.module.state_dict()[name], value)


def test_teacher_always_evaluates():
    model = MODELS.build(MODEL)
    model.add_teacher(dict(type="ExponentialMovingAverage"))
    assert model.train().training
    assert not any(module.training for module in model.teacher.modules())
    with pytest.raises(ValueError, match="has no teacher"):
        MODELS.build(MODEL).networks(of_teacher=True)


def test_prediction_of_the_chosen_network(tmp_path):
    runner, _ = train(tmp_path, 3, average=dict(type="ExponentialMovingAverage", momentum=0.001))
    model = runner.model.eval()
    data = model.data_preprocessor(pseudo_collate([Blocks()[0]]), False)
    with torch.no_grad():
        student = model.predict(**data)[0].seg_logits.data
        model.predict_with_teacher = True
        teacher = model.predict(**data)[0].seg_logits.data
        wanted = model.teacher.module["segmentor"].encode_decode(
            data["inputs"], [dict(ori_shape=(SIZE, SIZE), img_shape=(SIZE, SIZE))]
        )
    assert not torch.equal(student, teacher)
    torch.testing.assert_close(teacher, wanted[0])


def test_hook_chooses_the_evaluated_network(tmp_path):
    assert train(tmp_path, 3, evaluate=True)[0].model.predict_with_teacher
    assert not train(tmp_path / "b", 3)[0].model.predict_with_teacher


def test_checkpoint_with_a_teacher_serves_a_model_without_one(tmp_path, caplog):
    runner, _ = train(tmp_path, 3)
    plain = MODELS.build(MODEL)
    # Strict: nothing may be left over.
    loaded = read_checkpoint(tmp_path / "iter_3.pth")["state_dict"]
    assert any(name.startswith("teacher.") for name in loaded)
    plain.load_state_dict(loaded)
    assert all(
        torch.equal(value, runner.model.state_dict()[name])
        for name, value in plain.state_dict().items()
    )


def test_weights_load_without_pickled_code(tmp_path):
    runner, _ = train(tmp_path, 3)
    torch.save({"state_dict": runner.model.state_dict()}, tmp_path / "weights.pth")
    torch.load(tmp_path / "weights.pth", weights_only=True)


def test_checkpoint_without_a_teacher_starts_one(tmp_path):
    runner, _ = train(tmp_path, 3)
    state = {k: v for k, v in runner.model.state_dict().items() if not k.startswith("teacher.")}
    torch.save({"state_dict": state}, tmp_path / "old.pth")
    later, recorder = train(tmp_path / "later", 1, load_from=str(tmp_path / "old.pth"))
    assert torch.equal(
        recorder.start["segmentor.decode_head.conv_seg.weight"],
        state["segmentor.decode_head.conv_seg.weight"],
    )
    assert later.model.teacher.steps == 1


def test_export_of_the_teacher(tmp_path):
    runner, _ = train(tmp_path, 3)
    names = dict(name="own", classes=["a", "b", "c"], palette=[[0, 0, 0], [1, 1, 1], [2, 2, 2]])
    pipeline = [dict(type="LoadImage"), dict(type="PackSegInputs")]
    cfg = Config(dict(model=dict(MODEL, label_space=names), test_pipeline=pipeline))
    for teacher, networks in ((True, runner.model.teacher.module), (False, runner.model.networks())):  # fmt: skip
        _, path = export_segmentor(cfg, tmp_path / "iter_3.pth", tmp_path / "out", teacher=teacher)
        exported = torch.load(path, weights_only=True)["state_dict"]
        wanted = networks["segmentor"].state_dict()
        assert exported.keys() == wanted.keys()
        assert all(torch.equal(exported[name], wanted[name]) for name in wanted)
    state = {k: v for k, v in runner.model.state_dict().items() if not k.startswith("teacher.")}
    torch.save({"state_dict": state}, tmp_path / "none.pth")
    early = {**runner.model.state_dict(), "teacher.steps": torch.tensor(0)}
    torch.save({"state_dict": early}, tmp_path / "early.pth")
    for name in ("none", "early"):
        with pytest.raises(ValueError, match="no teacher that a MeanTeacherHook has updated"):
            export_segmentor(cfg, tmp_path / f"{name}.pth", tmp_path / "out", teacher=True)


def test_teacher_needs_the_adaptor():
    class Empty:
        model = nn.Linear(1, 1)

    with pytest.raises(TypeError, match="found Linear"):
        MeanTeacherHook().before_run(Empty())


DACS = "configs/dacs/deeplabv3plus_scenes2scenes.py"
FIRST_STEP_IN_A_ROUND = {
    "default_hooks.self_training.warmup_iterations": 0,
    "default_hooks.self_training.rounds": [dict(iterations=2, target_share=0.5)],
    "train_cfg.max_iters": 2,
}


def test_a_round_without_a_warm_up_has_a_teacher_at_once(train, tmp_path):
    runner = train(tmp_path / "run", config=DACS, **FIRST_STEP_IN_A_ROUND)
    # The copy, and two steps.
    assert runner.model.teacher.steps == 3


def test_a_term_without_a_teacher_shows_before_the_warm_up(train, tmp_path):
    with pytest.raises(
        ValueError, match=r"\['mix'\] read a teacher from step 1 on, and there is none"
    ):
        train(tmp_path / "run", config=DACS, **{"default_hooks.teacher": None})


@pytest.mark.parametrize("begin", [0, 2])
def test_weights_of_another_run_bring_no_teacher(train, tmp_path, begin):
    options = {
        "train_cfg.max_iters": 3,
        "default_hooks.self_training.warmup_iterations": 3,
        "default_hooks.self_training.rounds": [],
        "default_hooks.teacher.begin": begin,
        # Without rounds no batch holds what a term on the target reads.
        "model.terms": dict(source=dict(type="SegmentationTerm", domain="source"), _delete_=True),
    }
    train(tmp_path / "old", **options)
    old = tmp_path / "old" / "iter_3.pth"
    assert read_checkpoint(old)["state_dict"]["teacher.steps"] > 0
    for load_from in (None, str(old)):
        name = "new" if load_from else "fresh"
        model = train(tmp_path / name, **options, load_from=load_from).model
        assert model.teacher.steps == (3 if begin == 0 else 2)
