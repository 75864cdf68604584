import pytest
import torch

from mmdrsl.methods.drsl.mmdl_head import MMDLHead


def test_outputs():
    head = MMDLHead(in_channels=6, num_classes=4, num_modes=2, embedding_dim=5, hidden_channels=8)
    features = torch.randn(2, 6, 3, 4)
    embeddings = head([features])
    assert embeddings.shape == (2, 5, 3, 4)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2, 3, 4))
    torch.testing.assert_close(head.modes().norm(dim=2), torch.ones(4, 2))
    head.class_frequency.copy_(torch.tensor([0.6, 0.3, 0.09, 0.01]))
    posterior, nearest = head.log_posterior(embeddings), None
    torch.testing.assert_close(posterior.exp().sum(1), torch.ones(2, 3, 4))
    classes = torch.randint(4, (2, 3, 4))
    nearest = head.nearest_mode(embeddings, classes)
    for b in range(2):
        for y in range(3):
            for x in range(4):
                d2 = (embeddings[b, :, y, x] - head.modes()).square().sum(-1)
                mass = head.class_frequency * (-d2 / (2 * head.bandwidth**2)).exp().sum(1)
                torch.testing.assert_close(
                    posterior[b, :, y, x], (mass / mass.sum()).log(), rtol=1e-4, atol=1e-4
                )
                assert nearest[b, y, x] == d2[classes[b, y, x]].argmin()


def test_modes_of_a_class_start_near_each_other():
    torch.manual_seed(0)
    head = MMDLHead(in_channels=2, num_classes=200, num_modes=2, embedding_dim=64)
    modes = head.modes()
    own = (modes[:, 0] - modes[:, 1]).square().sum(1).mean().item()
    other = (modes[:-1, 0] - modes[1:, 0]).square().sum(1).mean().item()
    # Class vectors of deviation 0.1 plus offsets of 0.05: the cosine is 0.01 / (0.01 + 0.0025) = 0.8.
    assert own == pytest.approx(2 - 2 * 0.8, abs=0.05)
    assert other == pytest.approx(2, abs=0.05)
    torch.testing.assert_close(head.representatives.norm(dim=2), torch.ones(200, 2))


def test_class_probabilities_of_a_pixel_do_not_depend_on_size():
    head = MMDLHead(in_channels=6, num_classes=4, hidden_channels=8).eval()
    features = [torch.randn(1, 6, 3, 4)]
    same = head.class_probabilities(features, (3, 4))
    torch.testing.assert_close(same, head.log_posterior(head(features)).exp())
    larger = head.class_probabilities(features, (9, 12))
    torch.testing.assert_close(larger.sum(1), torch.ones(1, 9, 12))
    # With an odd factor the middle of a cell is a pixel of the enlarged map.
    torch.testing.assert_close(larger[..., 1::3, 1::3], same)


def test_in_half_precision():
    head = MMDLHead(in_channels=6, num_classes=4, hidden_channels=8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embeddings = head([torch.randn(2, 6, 3, 4)])
        assert embeddings.dtype == head.modes().dtype == torch.float32
        assert head.log_posterior(embeddings).dtype == torch.float32
        torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2, 3, 4))


@pytest.mark.parametrize(
    "options",
    [dict(num_classes=0), dict(num_modes=0), dict(embedding_dim=1), dict(bandwidth=0.0)],
)
def test_refuses(options):
    with pytest.raises(ValueError, match="MMDLHead needs"):
        MMDLHead(**dict(dict(in_channels=6, num_classes=4), **options))


def test_names_wrong_channels():
    head = MMDLHead(in_channels=6, num_classes=4, in_index=1)
    with pytest.raises(ValueError, match="feature map 1 and expects 6 channels, found 7"):
        head([torch.zeros(1, 6, 2, 2), torch.zeros(1, 7, 2, 2)])
