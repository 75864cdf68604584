import pytest
from mmengine.config import Config

from mmdrsl.installation import configs_folder
from mmdrsl.new_pair.choices import choose

MODELS = configs_folder() / "_base_" / "models"


@pytest.mark.parametrize("size", [(1920, 1080), (1280, 720), (640, 480), (96, 64), (720, 1280)])
@pytest.mark.parametrize("gigabytes", [None, 8.0, 24.0, 80.0])
def test_the_crop_fits_into_the_scaled_image(size, gigabytes):
    choices = choose(size, gigabytes=gigabytes, model=None, method=None)
    width, height = choices.scale
    # Nothing is enlarged, and the shape stays.
    assert width <= size[0]
    assert width / height == pytest.approx(size[0] / size[1], rel=0.02)
    assert max(choices.crop) <= min(width, height)
    assert all(side % 32 == 0 for side in choices.crop)
    assert set(choices.reasons) == {"model", "method", "schedule", "scale", "crop", "batch_size"}


def test_what_is_given_stays():
    choices = choose((640, 480), gigabytes=None, model="segformer_b0", method="mic")
    assert (choices.model, choices.method) == ("segformer_b0", "mic")
    assert choices.reasons["method"] == "as given"
    assert choices.reasons["model"].startswith("as given; its backbone starts from random weights")


def test_a_given_method_on_a_short_schedule():
    choices = choose((640, 480), gigabytes=None, model=None, method="drsl")
    assert choices.method == "drsl_short"
    assert choices.reasons["method"] == "as given, for a short schedule"


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.py")), ids=lambda path: path.stem)
def test_transformers_have_their_optimizer_on_a_gpu(path):
    backbone = Config.fromfile(path).model.segmentor.get("backbone", {}).get("type")
    expected = backbone in ("MixVisionTransformer", "PlainViT")
    for gigabytes in (None, 24.0):
        choices = choose((640, 480), gigabytes=gigabytes, model=path.stem, method=None)
        assert choices.transformer_optimizer == (expected and gigabytes is not None)
        assert choices.transformer_optimizer == ("AdamW of" in choices.reasons["schedule"])


@pytest.mark.parametrize("gigabytes", [None, 24.0])
@pytest.mark.parametrize(
    ("model", "random"),
    [(None, True), ("segnet_vgg16bn", True), ("deeplabv3plus_mobilenetv2_in1k", False)],
)
def test_random_weights_are_said(gigabytes, model, random):
    reasons = choose((640, 480), gigabytes=gigabytes, model=model, method=None).reasons
    said = "random weights: convert ImageNet weights with mmdrsl convert-backbone"
    assert (said in reasons["model"]) == random


def test_images_that_are_too_small():
    with pytest.raises(ValueError, match="are 200 x 40 pixels, expected at least 64"):
        choose((200, 40), gigabytes=None, model=None, method=None)
