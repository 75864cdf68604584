"""Weights named by a URL: said before they are downloaded, and checked as a file is."""

import functools
import http.server
import logging
import threading

import pytest
import torch
from mmseg.registry import MODELS
from tiny_adaptor import plain_config

from mmdrsl.models.backbones.remote_weights import weight_url


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Address of a folder that is served here, and the requests so far."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            requests.append(self.path)

    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{running.server_port}", requests
        running.shutdown()
        thread.join()


@pytest.fixture
def log():
    """Lines of MMEngine's log."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


def adaptor(checkpoint, *, by_pretrained=False):
    torch.manual_seed(0)
    config = plain_config()
    if by_pretrained:
        config["pretrained"] = checkpoint
    else:
        config["backbone"]["init_cfg"] = dict(type="Pretrained", checkpoint=checkpoint)
    return MODELS.build(dict(type="UDASegmentor", segmentor=config))


def backbone_weights():
    torch.manual_seed(7)
    return MODELS.build(plain_config()["backbone"]).state_dict()


@pytest.mark.parametrize("by_pretrained", [False, True])
def test_weights_are_downloaded_once_and_said_before(server, log, by_pretrained):
    folder, address, requests = server
    torch.save(backbone_weights(), folder / "small.pth")
    for _ in range(2):
        model = adaptor(f"{address}/small.pth", by_pretrained=by_pretrained)
        assert len(requests) <= 1
        model.init_weights()
        found = model.segmentor.backbone.state_dict()
        assert all(torch.equal(found[name], value) for name, value in backbone_weights().items())
    assert requests == ["/small.pth"]
    first, second, third = (line for line in log if address in line)
    assert first == third == f"ResNet starts from {address}/small.pth."
    assert second.startswith(f"Downloading {address}/small.pth to ")


def test_weights_that_do_not_fit_are_refused(server):
    folder, address, _ = server
    torch.save({"layer.weight": torch.zeros(1)}, folder / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth does not fit ResNet"):
        adaptor(f"{address}/other.pth").init_weights()


def test_weights_that_run_code_are_not_read(server):
    folder, address, _ = server
    torch.save({"state_dict": backbone_weights(), "meta": print}, folder / "code.pth")
    with pytest.raises(ValueError, match=r"code\.pth is no checkpoint"):
        adaptor(f"{address}/code.pth").init_weights()


def test_what_cannot_be_downloaded_is_named_with_the_remedy(server):
    _, address, _ = server
    with pytest.raises(
        FileNotFoundError, match=r"none\.pth could not be downloaded.*pretrained=None"
    ):
        adaptor(f"{address}/none.pth").init_weights()


def test_a_file_url_is_a_file(tmp_path):
    torch.save(backbone_weights(), tmp_path / "a b.pth")
    model = adaptor((tmp_path / "a b.pth").as_uri())
    model.init_weights()
    name, wanted = next(iter(backbone_weights().items()))
    assert torch.equal(model.segmentor.backbone.state_dict()[name], wanted)


@pytest.mark.parametrize(
    "name", ["torchvision://resnet50", "open-mmlab://resnet50_v1c", "mmcls://vgg11"]
)
def test_names_of_zoos_lead_to_a_url(name):
    assert weight_url(name).startswith("https://")


@pytest.mark.parametrize("name", ["torchvision://nothing", "s3://bucket/file.pth"])
def test_unknown_names_are_refused(name):
    with pytest.raises(ValueError, match="give the file of the weights"):
        weight_url(name)
