import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from tiny_network import SPACE, plain_model, training_config

from mmdrsl.engine.hooks.mean_teacher_hook import AVERAGE
from mmdrsl.inference import load_network


@pytest.fixture
def training(tmp_path):
    """Config, checkpoint and weights of student and teacher."""
    cfg = Config(training_config())
    model = MODELS.build(cfg.model)
    model.add_teacher(AVERAGE)
    for parameter in model.teacher.module.parameters():
        parameter.data.add_(1)
    model.teacher.steps.fill_(2)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / "training.pth")
    return cfg, tmp_path / "training.pth", model


@pytest.mark.parametrize(
    ("teacher", "evaluate", "taken"),
    [(False, True, False), (True, False, True), (None, False, False), (None, True, True)],
)
def test_weights_of_student_and_teacher(training, teacher, evaluate, taken):
    cfg, path, model = training
    cfg.custom_hooks = [dict(type="MeanTeacherHook", evaluate=evaluate)]
    network = load_network(cfg, path, teacher=teacher)
    assert network.is_teacher is taken
    expected = model.networks(of_teacher=taken)["segmentor"].state_dict()
    found = network.segmentor.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert not network.model.training
    assert network.classes == SPACE["classes"]


def test_a_plain_checkpoint_in_a_training_config_and_the_other_way_round(training, tmp_path):
    cfg, path, model = training
    named = dict(classes=SPACE["classes"], palette=SPACE["palette"])
    plain = tmp_path / "plain.pth"
    torch.save(dict(state_dict=model.segmentor.state_dict(), meta=dict(dataset_meta=named)), plain)
    networks = [
        load_network(cfg, plain),
        load_network(Config(dict(model=plain_model())), plain),
    ]
    for network in networks:
        assert network.palette == SPACE["palette"]
        weight = network.segmentor.decode_head.conv_seg.weight
        assert torch.equal(weight, model.segmentor.decode_head.conv_seg.weight)
    with pytest.raises(ValueError, match="found 0 names and 0 colors"):
        load_network(Config(dict(model=plain_model())), path)


def test_an_unknown_option_of_the_model_names_the_remedy(training):
    cfg, path, _ = training
    cfg.merge_from_dict({"model.foo.bar": 1})
    with pytest.raises(TypeError, match="argument 'foo': correct the config or --cfg-options"):
        load_network(cfg, path)


def test_a_window_takes_the_place_of_the_own_mode(training):
    cfg, path, _ = training
    window = dict(mode="slide", crop_size=(8, 8), stride=(4, 4))
    assert load_network(cfg, path, window=window).segmentor.test_cfg == window


def test_a_checkpoint_that_does_not_fit_is_refused(training, tmp_path):
    cfg, _, model = training
    state = model.state_dict()
    del state["segmentor.decode_head.conv_seg.bias"]
    torch.save(dict(state_dict=state), tmp_path / "other.pth")
    with pytest.raises(
        ValueError, match=r"other.pth does not fit .* 1 missing \(decode_head.conv_seg.bias\)"
    ):
        load_network(cfg, tmp_path / "other.pth")


def test_the_test_takes_the_student_where_no_teacher_was_updated(training, tmp_path):
    cfg, _, model = training
    cfg.custom_hooks = [dict(type="MeanTeacherHook", evaluate=True)]
    model.teacher.steps.fill_(0)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / "early.pth")
    assert not load_network(cfg, tmp_path / "early.pth", teacher=None).is_teacher


def test_a_teacher_that_is_not_there_is_refused(training, tmp_path):
    cfg, _, model = training
    for name, state in (("plain", model.segmentor.state_dict()), ("student", model.state_dict())):
        state.pop("teacher.steps", None)
        torch.save(dict(state_dict=state), tmp_path / name)
        with pytest.raises(ValueError, match=f"{name} holds no teacher"):
            load_network(cfg, tmp_path / name, teacher=True)


def test_an_unknown_device_is_refused(training):
    cfg, path, _ = training
    with pytest.raises(ValueError, match="no device 'abacus'"):
        load_network(cfg, path, device="abacus")


def test_one_output_channel_is_refused(training, tmp_path):
    model = plain_model()
    model["decode_head"].update(num_classes=2, out_channels=1, threshold=0.5)
    model["decode_head"]["loss_decode"] = dict(type="CrossEntropyLoss", use_sigmoid=True)
    named = dict(classes=SPACE["classes"][:2], palette=SPACE["palette"][:2])
    torch.save(
        dict(state_dict=dict(w=torch.ones(1)), meta=dict(dataset_meta=named)),
        tmp_path / "binary.pth",
    )
    with pytest.raises(ValueError, match="has one output channel"):
        load_network(Config(dict(model=model)), tmp_path / "binary.pth")
