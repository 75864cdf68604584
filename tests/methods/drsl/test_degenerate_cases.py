"""One test per row of the table of degenerate cases; `ROWS` maps each row to the test that proves it."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.registry import MODELS

import mmdrsl.methods.drsl.functional as F
from mmdrsl.datasets.label_spaces import LABEL_SPACES
from mmdrsl.methods.drsl.mmdl_head import MMDLHead
from mmdrsl.methods.drsl.mode_alignment import StochasticModeAlignmentLoss
from mmdrsl.methods.drsl.mode_maintenance_hook import (
    SAMPLES_PER_MODE,
    ModeMaintenanceHook,
    kmeans_representatives,
    revive_dead_modes,
)
from mmdrsl.methods.drsl.mode_metric import ModeMetricLoss
from mmdrsl.methods.drsl.source_sample import SourceSample
from mmdrsl.models.label_maps import resize_labels

ROWS = {
    "class absent": "test_absent_class",
    "no valid target pixel": "test_no_valid_target_pixel",
    "one class only": "test_one_class_only",
    "mode in one domain only": "test_mode_in_one_domain_only",
    "fewer pixels than modes": "test_fewer_pixels_than_modes",
    "dead mode": "test_dead_mode",
    "255 and other ignored values": "test_every_ignored_value",
    "C * K > 255": "test_more_modes_than_a_byte_holds",
    "fp16 and bf16": "test_half_precision",
    "zero vector": "test_zero_vector",
    "label down-sampling": "test_label_down_sampling",
    "two ranks": "test_two_ranks.py",
    "classes of SYNTHIA": "test_synthia_has_sixteen_classes",
    "K = 1": "test_one_mode_per_class",
}
CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "drsl"
CLASSES, MODES, DIM, BANDWIDTH = 4, 3, 8, 0.3
DISTANCES = ("pair", "energy", "mean")


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)))


def domain(seed=0, classes=CLASSES, size=(12, 14)):
    embeddings = unit(2, *size, DIM, seed=seed).movedim(-1, 1).requires_grad_()
    generator = torch.Generator().manual_seed(seed)
    return embeddings, torch.randint(classes, (2, *size), generator=generator)


def losses(source, target, modes, **options):
    """Every loss of a step by name; backward through all of them."""
    values = {}
    for class_distance in ("min", "softmin"):
        for balanced in (True, False):
            loss = ModeMetricLoss(class_distance=class_distance, class_balanced=balanced)
            values[f"{class_distance} {balanced}"] = loss(*target, modes, BANDWIDTH)
    for distance in DISTANCES:
        for stochastic in (True, False):
            loss = StochasticModeAlignmentLoss(distance=distance, stochastic=stochastic, **options)
            values[f"{distance} {stochastic}"] = loss(*source, *target, modes, BANDWIDTH)
    for name, value in values.items():
        assert value.isfinite(), name
        assert value.requires_grad, name
    sum(values.values()).backward()
    for tensor in (source[0], target[0], modes):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
    return values


def leaf_modes(num_modes=MODES, classes=CLASSES):
    return unit(classes, num_modes, DIM, seed=99).requires_grad_()


def test_every_row_has_its_test():
    for row, name in ROWS.items():
        assert name in globals() or Path(__file__).with_name(name).is_file(), row


def test_absent_class():
    # The denominator is the number of present classes: two classes, then the same two beside an absent third.
    values, labels = torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0, 0, 2])
    assert F.class_balanced_mean(values, labels, 3) == (2 + 5) / 2
    source, target = domain(0), domain(1)
    target[1][target[1] == 2] = 1
    losses(source, target, leaf_modes())


@pytest.mark.parametrize("side", ["source", "target", "both"])
def test_no_valid_target_pixel(side):
    source, target = domain(0), domain(1)
    for name, (_, labels) in (("source", source), ("target", target)):
        if side in (name, "both"):
            labels[:] = 255
    values = losses(source, target, leaf_modes())
    aligned = [value for name, value in values.items() if name.split()[0] in DISTANCES]
    assert all(value == 0 for value in aligned)
    if side != "source":
        assert all(value == 0 for value in values.values())
        assert (target[0].grad == 0).all()
    regularizer = F.model_regularizer(target[0], torch.full((2, 12, 14), 255))
    assert regularizer == 0
    assert regularizer.requires_grad


def test_one_class_only():
    source, target = domain(0), domain(1)
    target[1][:], source[1][:] = 2, 2
    modes = leaf_modes()
    losses(source, target, modes)
    # The negatives come from the representatives of classes that no pixel has.
    assert (modes.grad[[0, 1, 3]] != 0).any()


def test_mode_in_one_domain_only():
    source, target = domain(0), domain(1)
    modes = leaf_modes()
    with torch.no_grad():
        # Class 0: the source is at its mode 0, the target at its mode 1; all else is ignored.
        for (embeddings, labels), mode in ((source, 0), (target, 1)):
            labels[:] = 0
            embeddings[:] = modes[0, mode][:, None, None]
    loss = StochasticModeAlignmentLoss(stochastic=False)
    value = loss(*source, *target, modes, BANDWIDTH)
    value.backward()
    assert value == 0
    assert (target[0].grad == 0).all()


def test_fewer_pixels_than_modes():
    source, target = domain(0), domain(1)
    target[1][:] = 255
    target[1][0, 0, :2] = 1
    values = losses(source, target, leaf_modes())
    assert values["min True"] > 0
    assert values["mean False"] == 0
    few = unit(MODES * SAMPLES_PER_MODE - 1, DIM)
    before = unit(CLASSES, MODES, DIM, seed=5)
    modes, replaced = kmeans_representatives(few, torch.zeros(len(few)).long(), before, seed=0)
    assert not replaced.any()
    assert torch.equal(modes, before)
    assert (modes.norm(dim=2) > 0.99).all()


def test_dead_mode(monkeypatch):
    head = MMDLHead(in_channels=2, num_classes=1, num_modes=2, embedding_dim=DIM, memory_size=2)
    alive = unit(1, DIM)[0]
    with torch.no_grad():
        head.representatives[0, 0], head.representatives[0, 1] = alive, -alive
    head.remember(torch.stack([alive, -alive]), torch.zeros(2, dtype=torch.long))
    vectors = F.normalize(alive + 0.3 * unit(60, DIM, seed=3))
    labels = torch.zeros(60, dtype=torch.long)
    _, replaced = revive_dead_modes(vectors, labels, head.modes().detach(), usage_floor=0.1)
    assert replaced.tolist() == [[False, True]]
    hook = ModeMaintenanceHook(kmeans_iteration=0, interval=5)
    monkeypatch.setattr(hook, "_sample", lambda *_: SourceSample(vectors, labels, torch.ones(1)))
    optimizer = torch.optim.AdamW([head.representatives])
    head.representatives.grad = torch.ones_like(head.representatives)
    optimizer.step()
    model = torch.nn.Module()
    model.heads = torch.nn.ModuleDict(dict(mmdl=head))
    runner = SimpleNamespace(
        model=model, seed=0, iter=4, logger=SimpleNamespace(info=lambda _: None),
        optim_wrapper=SimpleNamespace(optimizer=optimizer),
    )  # fmt: skip
    kept = head.representatives[0, 0].clone()
    hook.after_train_iter(runner, 0)
    state = optimizer.state[head.representatives]
    for name in ("exp_avg", "exp_avg_sq"):
        assert (state[name][0, 1] == 0).all()
        assert (state[name][0, 0] != 0).all()
    farthest = (vectors - F.normalize(kept)).square().sum(1).argmax()
    torch.testing.assert_close(head.representatives[0, 1], vectors[farthest])
    assert torch.equal(head.representatives[0, 0], kept)
    # What was remembered of the place that the mode left is gone.
    assert head.remembered()[1].tolist() == [0]


@pytest.mark.parametrize("ignored", [255, -1, 250, CLASSES])
def test_every_ignored_value(ignored):
    source, target = domain(0), domain(1)
    drop = torch.rand(target[1].shape, generator=torch.Generator().manual_seed(0)) < 0.5
    target[1][drop] = ignored
    losses(source, target, leaf_modes(), max_pixels_per_class=10**6)
    gradient = target[0].grad.movedim(1, -1)
    assert (gradient[drop] == 0).all()
    assert (gradient[~drop] != 0).any()


def test_more_modes_than_a_byte_holds():
    classes, num_modes = 52, 5
    modes = leaf_modes(num_modes, classes)
    source, target = domain(0, classes, (50, 50)), domain(1, classes, (50, 50))
    with torch.no_grad():
        # Every pixel is at the first mode of its class; that of class 51 is number 255 among all modes.
        for embeddings, labels in (source, target):
            embeddings[:] = modes[labels, 0].movedim(-1, 1) + 0.01 * embeddings
    loss = StochasticModeAlignmentLoss(stochastic=False, distance="mean", min_pixels=2)
    loss(*source, *target, modes, BANDWIDTH).backward()
    touched = target[1][(target[0].grad != 0).any(dim=1)].unique()
    assert 255 in (touched * num_modes).tolist()
    assert touched.tolist() == list(range(classes))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    head = MMDLHead(in_channels=6, num_classes=CLASSES, hidden_channels=8, embedding_dim=DIM)
    features = torch.randn(4, 6, 12, 14)
    _, labels = domain(0)
    with torch.autocast("cpu", dtype=dtype):
        embeddings = head([features])
        assert embeddings.dtype == torch.float32
        source, target = embeddings[:2], embeddings[2:]
        for tensor in (source, target):
            tensor.retain_grad()
        modes = head.modes()
        modes.retain_grad()
        losses((source, labels), (target, labels), modes)
    for name, parameter in head.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.dtype == torch.float32


def test_zero_vector():
    source, target = domain(0), domain(1)
    modes = leaf_modes()
    with torch.no_grad():
        source[0][:, :, 3:] = 0
        target[0][:, :, :6] = 0
        modes[2] = 0
    raw = (source[0], target[0], modes)
    on_sphere = [F.normalize(x.movedim(1, -1)).movedim(-1, 1) for x in raw[:2]]
    sphere_modes = F.normalize(modes)
    for tensor in (*on_sphere, sphere_modes):
        tensor.retain_grad()
    losses((on_sphere[0], source[1]), (on_sphere[1], target[1]), sphere_modes)
    assert all(tensor.grad.isfinite().all() for tensor in raw)


def test_label_down_sampling():
    labels = torch.tensor([[[1, 1, 1, 0], [1, 2, 0, 2]]])
    assert resize_labels(labels, (1, 2)).shape == (1, 1, 2)
    # Three of four pixels are enough for 0.75; two are not.
    assert resize_labels(labels, (1, 2), 0.75).tolist() == [[[1, -1]]]
    assert resize_labels(labels, (1, 2), 0.8).tolist() == [[[-1, -1]]]
    source, target = domain(0), domain(1)
    pure = resize_labels(target[1].repeat_interleave(2, 1), target[1].shape[1:], 1.0)
    assert torch.equal(pure, target[1])
    pure[0] = -1
    losses(source, (target[0], pure), leaf_modes())
    assert (target[0].grad[0] == 0).all()


@pytest.mark.parametrize("model", ["deeplabv3plus", "fcn", "segnet"])
def test_synthia_has_sixteen_classes(model):
    cfg = Config.fromfile(str(CONFIGS / f"{model}_synthia2cs.py"))
    names = cfg.train_dataloader.dataset.source.label_space
    classes = LABEL_SPACES[names].classes
    assert len(classes) == 16
    assert not {"terrain", "truck", "train"} & set(classes)
    assert cfg.model.heads.mmdl.num_classes == cfg.model.segmentor.decode_head.num_classes == 16


def test_one_mode_per_class():
    source, target = domain(0), domain(1)
    modes = leaf_modes(1)
    values = losses(source, target, modes)
    # One mode leaves nothing to draw, nothing to use evenly and nothing to keep apart.
    torch.testing.assert_close(values["mean True"], values["mean False"])
    torch.testing.assert_close(values["min True"], values["softmin True"])
    assert F.mode_spread_penalty(modes) == 0
    shares = torch.ones(80, 1)
    assert F.mode_usage_penalty(shares, torch.zeros(80, dtype=torch.long), CLASSES) == 0


def test_mrkld_and_segmentation_terms_without_labels():
    term = MODELS.build(dict(type="ModelRegularizationTerm"))
    logits = torch.randn(1, CLASSES, 4, 4, requires_grad=True)
    sample = SimpleNamespace(gt_sem_seg=PixelData(data=torch.full((1, 8, 8), 255)))
    batch = SimpleNamespace(labels=sample.gt_sem_seg.data, logits=logits)
    step = SimpleNamespace(
        domains=dict(target=batch), segmentor=SimpleNamespace(align_corners=False)
    )
    value = term(step)["loss_mrkld"]
    value.backward()
    assert value == 0
    assert (logits.grad == 0).all()
