"""What `UDASegmentor` fills in where a config leaves it out, and what it refuses."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.models.decode_heads.fcn_head import FCNHead
from mmseg.registry import MODELS
from tiny_adaptor import CLASSES, PREPROCESSOR, SIZE, TERMS, batch, plain_config
from torch import nn

THREE = dict(
    name="three", classes=["road", "sky", "car"], palette=[[1, 1, 1], [2, 2, 2], [3, 3, 3]]
)
CHANNELS = (4, 8, 16, 32)
WEIGHTS = [0.5, 2.0, 1.0]


def head(**changes):
    """An FCN head that says neither what it reads nor how many classes there are."""
    entry = dict(plain_config()["decode_head"], in_index=-1)
    for name in ("in_channels", "num_classes"):
        entry.pop(name)
    return {**entry, **changes}


def segmentor(**changes):
    return {**plain_config(), "decode_head": head(), **changes}


def build(config=None, *, label_space=THREE, **options):
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type="UDASegmentor",
            segmentor=config or segmentor(),
            label_space=label_space,
            data_preprocessor=PREPROCESSOR,
            **options,
        )
    )


class Backbone(BaseModule):
    """Gives maps of 5 and 7 channels and notes what it was run on."""

    seen = []

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3, 5, 3, 4, 1), nn.Conv2d(5, 7, 3, 2, 1)])
        self.dropout = nn.Dropout(0.5)

    def look_at(self, images):
        pass

    def forward(self, images):
        self.seen.append((images.device.type, tuple(images.shape[2:])))
        self.look_at(images)
        first = self.layers[0](images)
        return first, self.layers[1](self.dropout(first))


class AsksForAValue(Backbone):
    def look_at(self, images):
        assert images.max().item() <= 255
        torch.rand(3)


class UsesNumPy(Backbone):
    def look_at(self, images):
        torch.from_numpy(images.detach().cpu().numpy() * 2)


class Branches(Backbone):
    def look_at(self, images):
        if images.sum() > 0:
            torch.rand(3)


class OfOneSize(Backbone):
    def look_at(self, images):
        if tuple(images.shape[2:]) != (32, 48):
            raise ValueError("images of 32 x 48, please")


class Projection(nn.Module):
    """A further head that is no classifier."""

    def __init__(self, *, in_channels, in_index=-1):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 2, 1)


class NoInput(nn.Module):
    """A module that takes no number of channels."""


class NoClassifier(FCNHead):
    """Classifies without a conv_seg."""

    def __init__(self, **options):
        super().__init__(**options)
        self.last = self.conv_seg
        del self.conv_seg


@pytest.fixture(autouse=True)
def _forget_what_was_seen():
    Backbone.seen.clear()


def test_first_weights_and_random_stream_are_those_of_explicit_values():
    torch.manual_seed(0)
    explicit = MODELS.build(plain_config(auxiliary=True, dropout_ratio=0.1))
    wanted = [explicit.state_dict(), torch.rand(())]
    auxiliary = head(in_index=2, dropout_ratio=0.1)
    config = segmentor(decode_head=head(dropout_ratio=0.1), auxiliary_head=auxiliary)
    model = build(config, class_weight=WEIGHTS, heads=dict(own=dict(type="MMDLHead")))
    found = [model.segmentor.state_dict(), torch.rand(())]
    assert found[0].keys() == wanted[0].keys()
    assert all(torch.equal(found[0][name], value) for name, value in wanted[0].items())
    assert torch.equal(found[1], wanted[1])


def test_the_config_stays_as_it_is():
    config = segmentor(auxiliary_head=[head(in_index=1)])
    further = dict(own=dict(type="MMDLHead"))
    before = copy.deepcopy((config, further))
    build(config, heads=further, class_weight=WEIGHTS)
    assert (config, further) == before


@pytest.mark.parametrize("label_space", [THREE, "synthia16", "cityscapes19"])
def test_numbers_of_classes_are_those_of_the_label_space(label_space):
    model = build(
        segmentor(auxiliary_head=head(in_index=2)),
        label_space=label_space,
        heads=dict(mmdl=dict(type="MMDLHead"), classifier=head()),
        discriminators=dict(output=dict(type="DomainDiscriminator", hidden_channels=(4,))),
    )
    number = dict(synthia16=16, cityscapes19=19).get(str(label_space), 3)
    heads = (model.decode_head, model.segmentor.auxiliary_head, *model.heads.values())
    assert [each.num_classes for each in heads] == [number] * 4
    assert model.discriminators["output"].in_channels == number


def test_without_a_label_space_the_decode_head_says_the_number_of_classes():
    model = build(
        segmentor(decode_head=head(num_classes=5)),
        label_space=None,
        heads=dict(mmdl=dict(type="MMDLHead")),
        discriminators=dict(output=dict(type="DomainDiscriminator", hidden_channels=(4,))),
    )
    assert model.num_classes == model.heads["mmdl"].num_classes == 5
    assert model.discriminators["output"].in_channels == 5


@pytest.mark.parametrize(
    ("options", "channels"),
    [
        (dict(), 32),
        (dict(in_index=0), 4),
        (dict(in_index=-2), 16),
        (dict(in_index=[1, 3], input_transform="resize_concat"), 8 + 32),
        (dict(in_index=(0, -1), input_transform="resize_concat"), 4 + 32),
    ],
)
def test_channels_follow_the_feature_map(options, channels):
    model = build(segmentor(decode_head=head(**options)))
    assert model.decode_head.convs[0].conv.in_channels == channels


def test_channels_of_auxiliary_heads():
    auxiliary = [head(in_index=index) for index in (0, 2)]
    model = build(segmentor(auxiliary_head=auxiliary))
    assert [each.in_channels for each in model.segmentor.auxiliary_head] == [4, 16]


def test_heads_read_the_neck_where_there_is_one():
    neck = dict(type="FPN", in_channels=list(CHANNELS), out_channels=6, num_outs=4)
    model = build(segmentor(neck=neck), heads=dict(mmdl=dict(type="MMDLHead", in_index=0)))
    assert model.decode_head.in_channels == model.heads["mmdl"].in_channels == 6


def test_a_head_that_chooses_its_maps_by_itself_keeps_its_channels():
    config = segmentor(
        backbone=dict(type="SegNetEncoder", width=1 / 16),
        decode_head=dict(type="SegNetHead", in_channels=(4, 8, 16, 32, 32)),
    )
    model = build(config)
    assert list(model.decode_head.in_channels) == [4, 8, 16, 32, 32]
    assert model.num_classes == CLASSES


def test_channels_of_further_heads():
    model = build(
        heads=dict(
            mode=dict(type="MMDLHead", in_index=1),
            decoder=dict(type="MMDLHead", in_index="decoder"),
            classifier=head(in_index=-2),
            projection=dict(type=Projection, in_index=2),
            free=dict(type=NoInput),
        )
    )
    found = {name: getattr(each, "in_channels", None) for name, each in model.heads.items()}
    assert found == dict(mode=8, decoder=8, classifier=16, projection=None, free=None)
    assert model.heads["projection"].conv.in_channels == 16
    # They read what they were built for.
    terms = dict(
        source=TERMS["source"],
        **{
            name: dict(TERMS["metric"], head=name, loss=dict(type="ModeMetricLoss"))
            for name in ("mode", "decoder")
        },
    )
    model.terms = nn.ModuleDict({name: MODELS.build(term) for name, term in terms.items()})
    values = model.loss(**model.data_preprocessor(batch("source", "source"), True))
    assert {"mode.loss_source", "decoder.loss_source"} <= values.keys()


def test_the_decoders_classifier_may_be_several_convolutions():
    config = segmentor(decode_head=dict(type="DeepLabV2Head", dilations=(1, 2)))
    model = build(config, heads=dict(own=dict(type="MMDLHead", in_index="decoder")))
    assert model.heads["own"].in_channels == 32


def test_a_decode_head_without_a_classifier_is_named():
    config = segmentor(decode_head=head(type=NoClassifier))
    with pytest.raises(
        ValueError, match="classifier of NoClassifier reads, and that has no conv_seg"
    ):
        build(config, heads=dict(own=dict(type="MMDLHead", in_index="decoder")))
    build(config, heads=dict(own=dict(type="MMDLHead", in_index="decoder", in_channels=8)))


def test_a_discriminator_that_takes_no_channels_is_left_alone():
    assert isinstance(
        build(discriminators=dict(own=dict(type=NoInput))).discriminators["own"], NoInput
    )


@pytest.mark.parametrize(
    ("options", "found", "wanted"),
    [
        (dict(config=segmentor(decode_head=head(num_classes=5))), "num_classes=5", 3),
        (dict(config=segmentor(decode_head=head(in_channels=31))), "in_channels=31", 32),
        (
            dict(config=segmentor(decode_head=head(
                in_index=[0, 1], in_channels=[4, 9], input_transform="resize_concat"))),
            r"in_channels=\[4, 9\]", r"\[4, 8\]",
        ),
        (dict(config=segmentor(auxiliary_head=[head(in_index=2, num_classes=19)])), "num_classes=19", 3),
        (dict(config=segmentor(auxiliary_head=[head(in_index=2, in_channels=32)])), "in_channels=32", 16),
        (dict(heads=dict(own=dict(type="MMDLHead", num_classes=19))), "num_classes=19", 3),
        (dict(heads=dict(own=dict(type="MMDLHead", in_channels=16))), "in_channels=16", 32),
        (
            dict(heads=dict(own=dict(type="MMDLHead", in_index="decoder", in_channels=32))),
            "in_channels=32", 8,
        ),
        (
            dict(discriminators=dict(own=dict(type="DomainDiscriminator", in_channels=19))),
            "in_channels=19", 3,
        ),
    ],
)  # fmt: skip
def test_wrong_values_are_refused(options, found, wanted):
    with pytest.raises(
        ValueError, match=rf"has {found}, but .* {wanted}: leave .* out, or correct"
    ):
        build(**options)


@pytest.mark.parametrize("index", [4, -5, [0, 4]])
def test_a_map_that_is_not_there_is_named(index):
    with pytest.raises(
        ValueError, match=r"FCNHead reads feature map .*4, 8, 16, 32.*correct its in_index"
    ):
        build(segmentor(decode_head=head(in_index=index)))


def test_without_a_label_space_the_head_that_predicts_has_the_classes():
    four = head(num_classes=3, loss_decode=dict(type="CrossEntropyLoss", class_weight=[1.0] * 4))
    for parts, options, message in (
        (dict(auxiliary_head=head(num_classes=4)), {}, "num_classes=4, but the decode head has 3"),
        (dict(decode_head=four), {}, "4 entries in class_weight, but the decode head has 3"),
        ({}, dict(class_weight=[1.0, 2.0]), "2 weights, but the decode head has 3"),
    ):
        config = segmentor(**{"decode_head": head(num_classes=3), **parts})
        with pytest.raises(ValueError, match=message):
            build(config, label_space=None, **options)
    model = build(
        segmentor(decode_head=head(num_classes=3), auxiliary_head=head()), label_space=None
    )
    assert model.segmentor.auxiliary_head.num_classes == 3


def test_class_weights_go_to_every_cross_entropy_without_its_own():
    plain = dict(type="CrossEntropyLoss", avg_non_ignore=True)
    own = dict(type="CrossEntropyLoss", class_weight=[1.0, 1.0, 9.0])
    others = [dict(type="WeightedCrossEntropyLoss"), dict(type="DiceLoss", loss_name="loss_dice")]
    model = build(
        segmentor(
            decode_head=head(loss_decode=plain), auxiliary_head=head(loss_decode=[plain, *others])
        ),
        class_weight=WEIGHTS,
        heads=dict(mmdl=dict(type="MMDLHead"), classifier=head(loss_decode=own)),
    )
    main = model.decode_head.loss_decode
    assert (main.class_weight, main.avg_non_ignore) == (WEIGHTS, False)
    first, second, _ = model.segmentor.auxiliary_head.loss_decode
    assert first.class_weight == second.class_weight.tolist() == WEIGHTS
    assert model.heads["classifier"].loss_decode.class_weight == own["class_weight"]


def test_class_weights_go_to_a_loss_that_is_not_named_and_to_one_with_a_scope():
    unnamed = head()
    unnamed.pop("loss_decode", None)
    scoped = head(loss_decode=dict(type="mmseg.CrossEntropyLoss"))
    for decode_head in (unnamed, scoped):
        loss = build(
            segmentor(decode_head=decode_head), class_weight=WEIGHTS
        ).decode_head.loss_decode
        assert loss.class_weight == WEIGHTS


def test_class_weights_that_reach_no_loss_are_refused():
    config = segmentor(decode_head=head(loss_decode=dict(type="DiceLoss")))
    with pytest.raises(ValueError, match=r"reaches no loss of FCNHead.*DiceLoss"):
        build(config, class_weight=WEIGHTS)


def test_class_weights_weigh_the_loss():
    model = build(class_weight=WEIGHTS, terms=dict(source=TERMS["source"])).train()
    data = batch("source", "source")
    data["data_samples"][0].gt_sem_seg.data[:, :20] = 255
    data = model.data_preprocessor(data, True)
    value = model.loss(**data)["source.loss_ce"]
    logits = F.interpolate(
        model.decode_head(model.extract_feat(data["inputs"])), (SIZE, SIZE), mode="bilinear"
    )
    labels = torch.cat([each.gt_sem_seg.data for each in data["data_samples"]])
    wanted = F.cross_entropy(logits, labels, torch.tensor(WEIGHTS), ignore_index=255)
    torch.testing.assert_close(value, wanted)


def test_class_weights_must_be_one_per_class():
    with pytest.raises(ValueError, match=r"class_weight has 2 weights, but .* has 3 classes"):
        build(class_weight=[1.0, 2.0])


def test_a_losss_own_class_weights_must_be_one_per_class():
    own = head(loss_decode=dict(type="CrossEntropyLoss", class_weight=[1.0] * 19))
    with pytest.raises(ValueError, match=r"CrossEntropyLoss of FCNHead has 19 entries.* 3 classes"):
        build(segmentor(decode_head=own))


def test_class_weights_do_not_go_to_a_loss_of_sigmoids():
    sigmoid = dict(type="CrossEntropyLoss", use_sigmoid=True)
    with pytest.raises(ValueError, match="no cross entropy of softmax"):
        build(segmentor(decode_head=head(loss_decode=sigmoid)), class_weight=WEIGHTS)
    both = build(
        segmentor(decode_head=head(loss_decode=[sigmoid, dict(type="OhemCrossEntropy")])),
        class_weight=WEIGHTS,
    ).decode_head.loss_decode
    assert [loss.class_weight for loss in both] == [None, WEIGHTS]


def test_shapes_alone_are_looked_at():
    build(segmentor(backbone=dict(type=Backbone)), crop_size=(40, 72))
    # As it predicts, as it trains, and an image of another size.
    assert Backbone.seen == [("meta", (40, 72))] * 2 + [("meta", (40, 144))]
    Backbone.seen.clear()
    build(segmentor(backbone=dict(type=Backbone)))
    assert Backbone.seen == [("meta", (256, 256))] * 2 + [("meta", (256, 512))]


@pytest.mark.parametrize("backbone", [AsksForAValue, UsesNumPy, Branches])
def test_a_network_that_looks_at_values_is_run(backbone):
    config = segmentor(backbone=dict(type=backbone))
    torch.manual_seed(0)
    explicit = MODELS.build(
        dict(config, decode_head=head(in_channels=7, num_classes=CLASSES))
    ).state_dict()
    after = torch.rand(())
    model = build(config, crop_size=(40, 72))
    assert torch.equal(torch.rand(()), after)
    assert Backbone.seen[-3:] == [("cpu", (40, 72))] * 2 + [("cpu", (40, 144))]
    assert model.decode_head.in_channels == 7
    assert all(torch.equal(model.segmentor.state_dict()[n], v) for n, v in explicit.items())


def test_a_network_of_one_size_is_looked_at_with_the_crops():
    window = dict(mode="slide", crop_size=(32, 48), stride=(21, 32))
    config = segmentor(backbone=dict(type=OfOneSize), test_cfg=window)
    assert build(config, crop_size=(32, 48)).decode_head.in_channels == 7
    with pytest.raises(ValueError, match="32 x 48, please"):
        build(config)


def test_a_network_of_one_size_does_not_predict_whole_images():
    config = segmentor(backbone=dict(type=OfOneSize))
    with pytest.raises(
        ValueError, match=r"OfOneSize takes images of 32 x 48 .*mode='slide'"
    ) as error:
        build(config, crop_size=(32, 48))
    # The remedy that it names.
    window = eval(str(error.value).split("test_cfg=")[1].rstrip("."))
    build(dict(config, test_cfg=window), crop_size=(32, 48))
