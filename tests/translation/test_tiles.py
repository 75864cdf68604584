import numpy as np
import pytest
import torch
from mmseg.registry import MODELS
from tiny_translators import GENERATOR

from mmdrsl.translation.generator_translator import GeneratorTranslator
from mmdrsl.translation.mmagic_loader import load_mmagic
from mmdrsl.translation.resize_convolution import ResizeConv2d
from mmdrsl.translation.tiled_generator import receptive_radius, translate_in_tiles

load_mmagic()
import mmdrsl.translation.shortcut_generator  # noqa: E402, F401 - needs MMagic

KINDS = ("mmagic.ResnetGenerator", "mmagic.ShortcutGenerator")


def generator(num_blocks=1, norm_cfg=None, seed=0, kind=KINDS[0]):
    torch.manual_seed(seed)
    norm_cfg = norm_cfg or dict(type="IN")
    network = MODELS.build(dict(GENERATOR, type=kind, num_blocks=num_blocks, norm_cfg=norm_cfg))
    for parameter in network.parameters():
        parameter.data = torch.randn_like(parameter) * 0.3
    return network.eval()


@pytest.mark.parametrize("num_blocks", [0, 1, 2])
@pytest.mark.parametrize("tile", [20, 32, 64])
@pytest.mark.parametrize("kind", KINDS)
def test_tiles_equal_the_whole_image(num_blocks, tile, kind):
    network = generator(num_blocks, kind=kind)
    # Left and right differ, so that statistics of a tile are not those of the image.
    image = torch.rand(1, 3, 72, 100) * torch.linspace(-1, 1, 100)
    with torch.no_grad():
        whole = network(image)
    tiled = translate_in_tiles(network, image, tile)
    assert torch.allclose(tiled, whole, atol=1e-4)
    assert whole.std() > 0.1


def test_an_even_surface_stays_even():
    torch.manual_seed(0)
    surface = torch.rand(1, 3, 1, 1).expand(1, 3, 8, 8)
    resized = ResizeConv2d(3, 2, kernel_size=3, padding=1)(surface)[..., 1:-1, 1:-1]
    transposed = torch.nn.ConvTranspose2d(3, 2, 3, stride=2, padding=1, output_padding=1)(surface)
    assert resized.shape == (1, 2, 14, 14)
    assert (resized - resized[..., :1, :1]).abs().max() < 1e-6
    assert transposed[..., 1:-1, 1:-1].std() > 0.05
    shortcut = generator(kind=KINDS[1])
    assert not any(isinstance(layer, torch.nn.ConvTranspose2d) for layer in shortcut.modules())


def test_no_band_along_the_border():
    """An even image is even up to its border, where zeros beyond it would show."""
    image = torch.tensor([0.8, 0.2, -0.5])[None, :, None, None].expand(1, 3, 48, 64)
    deviations = {}
    for kind in KINDS:
        network = generator(kind=kind).double()
        with torch.no_grad():
            values = network(image.double())
        deviations[kind] = (values - values.mean(dim=(2, 3), keepdim=True)).abs().max().item()
    assert deviations["mmagic.ShortcutGenerator"] < 1e-6
    assert deviations["mmagic.ResnetGenerator"] > 0.1


def test_another_border_is_refused():
    with pytest.raises(ValueError, match="found padding_mode='zeros': leave it out"):
        MODELS.build(dict(GENERATOR, type=KINDS[1], padding_mode="zeros"))


def test_statistics_of_single_tiles_would_differ():
    network = generator()
    image = torch.rand(1, 3, 72, 100) * torch.linspace(-1, 1, 100)
    with torch.no_grad():
        whole, alone = network(image), network(image[..., :52])
    assert (whole[..., :20] - alone[..., :20]).abs().max() > 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_receptive_radius_is_what_gradients_reach(kind):
    """Without normalization and with positive weights, gradients show all that an output pixel sees."""
    network = generator(num_blocks=1, kind=kind).double()
    for layer in network.modules():
        if isinstance(layer, torch.nn.InstanceNorm2d | torch.nn.Tanh):
            layer.forward = lambda values: values
    for parameter in network.parameters():
        parameter.data = parameter.data.abs()
    image = torch.rand(1, 3, 96, 96, dtype=torch.float64, requires_grad=True)
    reached = 0
    for place in range(44, 52):
        (gradient,) = torch.autograd.grad(network(image)[0, :, place, place].sum(), image)
        rows = gradient.abs().sum((0, 1, 3)).nonzero()[:, 0]
        reached = max(reached, place - int(rows.min()), int(rows.max()) - place)
    radius = receptive_radius(network)
    assert reached <= radius <= reached + 4


@pytest.mark.parametrize("size", [(30, 41), (32, 40)])
def test_translator_keeps_size_and_agrees_with_tiles(size):
    network = generator()
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype("u1")
    whole = GeneratorTranslator(network).translate(picture)
    tiled = GeneratorTranslator(network, tile_size=16).translate(picture)
    assert whole.shape == picture.shape
    assert np.abs(whole.astype(int) - tiled).max() <= 1
    if size == (32, 40):
        values = torch.from_numpy(picture[..., ::-1].copy()).permute(2, 0, 1)[None] / 127.5 - 1
        with torch.no_grad():
            expected = (network(values)[0].permute(1, 2, 0).numpy()[..., ::-1] + 1) * 127.5
        assert np.abs(whole - expected).max() <= 0.501


def test_tiles_serve_where_memory_runs_out(monkeypatch):
    network = generator()
    picture = np.zeros((32, 40, 3), np.uint8)
    expected = GeneratorTranslator(network, tile_size=16).translate(picture)

    def too_large(values):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(network, "forward", too_large)
    assert np.abs(GeneratorTranslator(network).translate(picture) - expected).max() <= 1


def test_settings_follow_the_weights():
    first, same, other = (GeneratorTranslator(generator(seed=seed)) for seed in (0, 0, 1))
    assert first.settings == same.settings != other.settings


def test_impossible_sizes_and_networks():
    with pytest.raises(ValueError, match="multiples of 4"):
        translate_in_tiles(generator(), torch.zeros(1, 3, 30, 32), 16)
    with pytest.raises(ValueError, match="multiples of 4"):
        translate_in_tiles(generator(), torch.zeros(1, 3, 32, 32), 18)
    with pytest.raises(TypeError, match="ResnetGenerator"):
        translate_in_tiles(torch.nn.Conv2d(3, 3, 1), torch.zeros(1, 3, 32, 32), 16)


@pytest.mark.parametrize(
    "norm_cfg", [dict(type="GN", num_groups=1), dict(type="BN", track_running_stats=False)]
)
def test_other_normalizations_are_refused(norm_cfg):
    # Their statistics are not those of one channel of one image, which tiles put together.
    with pytest.raises(TypeError, match="instance normalization"):
        translate_in_tiles(generator(norm_cfg=norm_cfg), torch.zeros(1, 3, 32, 32), 16)
