"""What docs/training.md says of options that MMEngine offers, on a CPU."""

import json
import struct
from collections import defaultdict

import cv2
import numpy as np
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.runner.activation_checkpointing import turn_on_activation_checkpointing
from tiny_adaptor import batch, build, losses_of

OPTIMIZER = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.01))
DOMAINS = ("source", "source", "target", "target")


def gradients(model):
    losses = losses_of(model, *DOMAINS)
    sum(value for name, value in losses.items() if "loss_" in name).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_gradient_checkpointing_changes_no_gradient():
    plain, checkpointed = build(), build()
    turn_on_activation_checkpointing(
        checkpointed, ["segmentor.backbone.layer1", "segmentor.backbone.layer2"]
    )
    torch.manual_seed(3)
    expected = gradients(plain)
    torch.manual_seed(3)
    found = gradients(checkpointed)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)


def test_accumulated_steps_change_weights_once():
    model = build()
    wrapper = build_optim_wrapper(model, dict(OPTIMIZER, accumulative_counts=2))
    wrapper.initialize_count_status(model, 0, 2)
    before = model.segmentor.backbone.conv1.weight.clone()
    model.train_step(batch(*DOMAINS), wrapper)
    assert torch.equal(model.segmentor.backbone.conv1.weight, before)
    model.train_step(batch(*DOMAINS), wrapper)
    assert not torch.equal(model.segmentor.backbone.conv1.weight, before)


@pytest.mark.slow
def test_a_compiled_run_trains_as_a_plain_one(train, tmp_path):
    """Dynamo captures every part of a step; its backend that generates no code keeps the numbers."""
    plain = train(tmp_path / "plain")
    compiled = train(tmp_path / "compiled", compile=dict(backend="eager"))
    assert torch._dynamo.utils.counters["frames"]["ok"] > 0
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(compiled.model.state_dict()[name], value, rtol=1e-4, atol=1e-4)


REPORTED = {
    "default_hooks.report": dict(type="RunReportHook"),
    "default_hooks.logger.interval": 1,
}


def train_with(train, work_dir, **backend):
    """A run of four steps with the local backend and another."""
    backends = [dict(type="LocalVisBackend"), backend]
    train(work_dir, **REPORTED, **{"visualizer.vis_backends": backends})


def local_scalars(work_dir):
    """What the local backend got: value by step, by name."""
    found = defaultdict(dict)
    (path,) = work_dir.glob("*/vis_data/scalars.json")
    for line in path.read_text().splitlines():
        record = json.loads(line)
        step = record.pop("step")
        for name, value in record.items():
            found[name][step] = value
    assert found["pseudo_labels/coverage"].keys() == {1, 2}
    assert found["loss"].keys() == {1, 2, 3, 4}
    return found


def local_pictures(work_dir):
    """What the local backend got: RGB pictures by name and step, as the ending of a file has them."""
    paths = sorted(work_dir.glob("*/vis_data/vis_image/*.png"))
    assert {path.stem for path in paths} == {
        *(f"training_batch_{step}" for step in (1, 2, 3)),
        *(f"target_images_{step}" for step in (1, 2, 4)),
    }
    return {path.stem: read_picture(path) for path in paths}


def read_picture(path):
    return cv2.imread(str(path))[..., ::-1]


def assert_same_pictures(found, expected):
    assert found.keys() == expected.keys()
    for name, picture in expected.items():
        np.testing.assert_array_equal(found[name], picture)


def test_tensorboard_gets_the_pictures_and_scalars_of_a_run(train, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train_with(train, tmp_path, type="TensorboardVisBackend")
    (file,) = tmp_path.glob("*/vis_data/events.*")
    # Zero keeps everything.
    events = EventAccumulator(str(file), size_guidance=dict(images=0, scalars=0))
    events.Reload()
    pictures = {
        f"{name}_{event.step}": cv2.imdecode(np.frombuffer(event.encoded_image_string, np.uint8), 1)
        for name in events.Tags()["images"]
        for event in events.Images(name)
    }
    assert_same_pictures(
        {name: picture[..., ::-1] for name, picture in pictures.items()}, local_pictures(tmp_path)
    )
    for name, values in local_scalars(tmp_path).items():
        found = {event.step: event.value for event in events.Scalars(name)}
        assert found == pytest.approx(values, rel=1e-6), name


@pytest.mark.parametrize("store", ["sqlite:///{}/mlflow.db", "file:{}/mlruns"])
def test_mlflow_gets_the_pictures_and_scalars_of_a_run(train, tmp_path, monkeypatch, store):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    # MLflow has put its plain files into maintenance.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = store.format(tmp_path)
    backend = dict(type="MLflowPicturesVisBackend", exp_name="own", tracking_uri=uri)
    train_with(train, tmp_path / "run", **backend, artifact_location=f"file:{tmp_path}/artifacts")
    client = mlflow.MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("own").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["train_cfg.max_iters"] == "4"
    folder = tmp_path / "artifacts" / run.info.run_id / "artifacts/pictures"
    assert_same_pictures(
        {path.stem: read_picture(path) for path in folder.iterdir()},
        local_pictures(tmp_path / "run"),
    )
    for name, values in local_scalars(tmp_path / "run").items():
        found = {m.step: m.value for m in client.get_metric_history(run.info.run_id, name)}
        assert found == pytest.approx(values), name


def wandb_records(path):
    """Records of a run that W&B keeps in a file: a log of LevelDB, whose blocks have 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, position, parts = path.read_bytes(), 7, []
    while position + 7 <= len(content):
        left = 2**15 - position % 2**15
        if left < 7:
            position += left
            continue
        length, kind = struct.unpack_from("<HB", content, position + 4)
        parts.append(content[position + 7 : position + 7 + length])
        position += 7 + length
        # Whole, first, middle, last.
        if kind in (1, 4):
            yield Record.FromString(b"".join(parts))
            parts = []


def test_wandb_gets_the_pictures_and_scalars_of_a_run(train, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    train_with(train, tmp_path / "run", type="WandbVisBackend")
    # The process that writes the file ends with this one, or now.
    wandb.teardown()
    (file,) = tmp_path.glob("run/*/vis_data/wandb/offline-run-*/run-*.wandb")
    pictures, scalars = defaultdict(list), defaultdict(list)
    for record in wandb_records(file):
        for item in record.history.item:
            name, *part = [item.key] if item.key else item.nested_key
            value = json.loads(item.value_json)
            if part == ["path"]:
                pictures[name].append(read_picture(file.parent / "files" / value))
            elif not part:
                scalars[name].append(value)
    # W&B numbers what it gets by itself.
    expected = local_pictures(tmp_path / "run")
    assert pictures.keys() == {name.rpartition("_")[0] for name in expected}
    for name, found in pictures.items():
        steps = sorted(int(key.rpartition("_")[2]) for key in expected if key.startswith(name))
        for step, picture in zip(steps, found, strict=True):
            np.testing.assert_array_equal(picture, expected[f"{name}_{step}"])
    for name, values in local_scalars(tmp_path / "run").items():
        assert scalars[name] == pytest.approx([values[step] for step in sorted(values)]), name
