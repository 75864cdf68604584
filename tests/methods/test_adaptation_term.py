"""The contract between terms, the adaptor and `AfterStepHook`."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub
from mmseg.registry import MODELS
from tiny_adaptor import CLASSES, SIZE, TERMS, batch, build, losses_of

from mmdrsl.engine.hooks.after_step_hook import AfterStepHook
from mmdrsl.methods.adaptation_term import AdaptationTerm, ramp

EMA = dict(type="ExponentialMovingAverage", momentum=0.5)


class Probe(AdaptationTerm):
    """A loss of zero, and a random number."""

    def __init__(self, *, domains=("source", "target")):
        super().__init__(domains=domains)

    def forward(self, step):
        logits = next(iter(step.domains.values())).logits
        return dict(loss_probe=logits.sum() * 0, draw=torch.rand(()))


class Reader(Probe):
    """Reads the teacher's prediction without saying so."""

    def forward(self, step):
        self.read = step.teacher_probabilities()
        return super().forward(step)


class DeclaredReader(Reader):
    needs_teacher = True


class Counter(Probe):
    """Counts the steps whose batch had all of its domains."""

    def __init__(self, **options):
        super().__init__(**options)
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.received = []

    def after_step(self, values):
        self.received.append(set(values))
        self.count += bool(values)
        return dict(count=float(self.count))


def adaptor(**terms):
    return build(terms=terms)


@pytest.mark.parametrize(
    "options",
    [
        dict(type=Probe, domains=()),
        dict(type=Probe, domains=("source", "test")),
        dict(type="SegmentationTerm", domain="both"),
        dict(type="ModeMetricTerm", domain="both"),
    ],
)
def test_unknown_domains_are_refused(options):
    name = getattr(options["type"], "__name__", options["type"])
    with pytest.raises(ValueError, match=rf"{name}: domains must be of 'source' and 'target'"):
        MODELS.build(options)


@pytest.mark.parametrize(
    ("batch_of", "run"),
    [
        (("source",), {"on_source"}),
        (("target",), {"on_target"}),
        (("source", "target"), {"on_source", "on_target", "on_both"}),
    ],
)
def test_a_term_runs_where_all_its_domains_are(batch_of, run):
    model = adaptor(
        on_source=dict(type=Probe, domains=("source",)),
        on_target=dict(type=Probe, domains=("target",)),
        on_both=dict(type=Probe),
    )
    images = [each for each in batch_of for _ in range(2)]
    assert {name.split(".")[0] for name in losses_of(model, *images)} == run


def test_a_batch_for_no_term_is_refused():
    model = adaptor(target=TERMS["target"])
    with pytest.raises(ValueError, match=r"No term of \['target'\] .* domains \['source'\]"):
        losses_of(model, "source", "source")


def test_terms_draw_as_if_alone_and_anew_in_every_step():
    both = dict(first=dict(type=Probe), second=dict(type=Probe))
    draws = []
    for terms in (both, dict(second=dict(type=Probe))):
        model = adaptor(**terms)
        torch.manual_seed(7)
        steps = [losses_of(model, "source", "target") for _ in range(2)]
        draws.append([step["second.draw"] for step in steps])
    assert draws[0] == draws[1]
    assert draws[0][0] != draws[0][1]


def test_the_teacher_predicts_once_for_all_terms():
    model = adaptor(first=dict(type=DeclaredReader), second=dict(type=DeclaredReader))
    model.add_teacher(EMA)
    model.teacher.update_parameters(model.networks())
    passes = []
    teacher = model.teacher.module["segmentor"]
    teacher.backbone.register_forward_pre_hook(lambda _, inputs: passes.append(len(inputs[0])))
    losses_of(model, "source", "source", "target", "target", "target")
    # The target images alone.
    assert passes == [3]
    first, second = (model.terms[name].read for name in ("first", "second"))
    assert first is second
    assert first.shape == (3, CLASSES, SIZE, SIZE)
    assert not first.requires_grad
    torch.testing.assert_close(first.sum(1), torch.ones(3, SIZE, SIZE))
    losses_of(model, "source", "target")
    assert passes == [3, 1]


class Looker(Probe):
    """Reads predictions without gradients."""

    def forward(self, step):
        with torch.no_grad():
            share = step.full_size_logits("target").softmax(1).max()
            length = step.head_output("mmdl", "target").norm(dim=1).max()
        return dict(share=share, length=length)


@pytest.mark.parametrize("bn_mode", ["joint", "separate"])
def test_the_first_to_read_a_prediction_cuts_off_nobody(bn_mode):
    terms = dict(
        first=dict(type=Looker, domains=("target",)),
        target=TERMS["target"],
        metric_target=TERMS["metric_target"],
    )
    model = build(terms=terms, bn_mode=bn_mode)
    values = losses_of(model, "source", "target", "target")
    (values["target.loss_ce"] + values["metric_target.loss_target"]).backward()
    for layer in (model.segmentor.backbone.conv1, model.heads["mmdl"].project[1]):
        assert (layer.weight.grad != 0).any()


@pytest.mark.parametrize("lacks", ["teacher", "update", "declaration"])
def test_a_teacher_that_is_not_there_is_explained(lacks):
    model = adaptor(own=dict(type=Reader if lacks == "declaration" else DeclaredReader))
    if lacks != "teacher":
        model.add_teacher(EMA)
    if lacks == "declaration":
        model.teacher.update_parameters(model.networks())
    with pytest.raises(ValueError, match=r"MeanTeacherHook.*declare needs_teacher = True"):
        losses_of(model, "source", "target")


def test_state_that_no_hook_changes_is_refused():
    model = adaptor(plain=dict(type=Probe), kept=dict(type=Counter))
    assert [model.terms[name].has_state for name in ("plain", "kept")] == [False, True]
    with pytest.raises(ValueError, match=r"\['kept'\] change between steps.*AfterStepHook"):
        losses_of(model, "source", "target")


def test_the_hook_calls_terms_with_their_own_values_and_logs():
    model = adaptor(
        plain=dict(type=Probe, domains=("source",)),
        kept=dict(type=Counter),
        kept_too=dict(type=Counter, domains=("source",)),
    )
    runner = SimpleNamespace(model=model, message_hub=MessageHub("after_step"), iter=0)
    hook = AfterStepHook()
    hook.before_train(runner)
    for domains in (("source", "target"), ("source", "source")):
        hook.after_train_iter(runner, 0, outputs=losses_of(model, *domains))
    own = {"loss_probe", "draw"}
    assert model.terms["kept"].received == [own, set()]
    assert model.terms["kept_too"].received == [own, own]
    logged = {name: each.current() for name, each in runner.message_hub.log_scalars.items()}
    assert logged == {"train/kept.count": 1, "train/kept_too.count": 2}
    assert int(model.state_dict()["terms.kept_too.count"]) == 2


def test_the_hook_leaves_a_model_without_terms_alone():
    runner = SimpleNamespace(model=torch.nn.Linear(1, 1), message_hub=MessageHub("no_terms"))
    hook = AfterStepHook()
    hook.before_train(runner)
    hook.after_train_iter(runner, 0, outputs=dict(loss=torch.zeros(())))
    assert not runner.message_hub.log_scalars


@pytest.mark.parametrize(
    ("iteration", "length", "factor"),
    [(-1, 10, 0), (0, 10, 0), (5, 10, 0.5), (10, 10, 1), (50, 10, 1), (0, 0, 1), (-1, 0, 0)],
)
def test_ramp(iteration, length, factor):
    assert ramp(iteration, length) == factor


def test_the_batch_is_given_to_terms_as_the_preprocessor_ordered_it():
    model = adaptor(own=dict(type=Probe))
    seen = []
    model.terms["own"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    data = model.data_preprocessor(batch("target", "source", "source"), True)
    model.loss(**data)
    (step,) = seen
    assert list(step.domains) == ["source", "target"]
    assert torch.equal(step.domains["target"].inputs, data["inputs"][2:])
    labels = torch.cat([each.gt_sem_seg.data for each in data["data_samples"]])
    assert torch.equal(step.domains["source"].labels, labels[:2])
