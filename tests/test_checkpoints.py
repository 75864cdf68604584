"""Reading of checkpoints: those of a Runner, files of weights, damaged files and hostile ones."""

import argparse
import contextlib
import functools
import http.server
import inspect
import os
import pickle
import sys
import threading
import types
import zipfile
from collections import OrderedDict, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import addict
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.logging import HistoryBuffer, MMLogger
from mmengine.model import BaseModel
from mmengine.optim.scheduler import param_scheduler
from mmengine.runner import Runner, load_checkpoint
from torch import nn

from mmdrsl.checkpoints import TRUST_VARIABLE, read_checkpoint, read_file, trust
from mmdrsl.models.backbones import remote_weights


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, inputs, mode="loss"):
        return dict(loss=self.layer(torch.stack(inputs)).square().mean())


def line_runner(work_dir, **options):
    """A stock run of three steps."""
    MMLogger._instance_dict.clear()
    return Runner(
        model=Line(),
        work_dir=str(work_dir),
        experiment_name=f"{work_dir.name}_{len(options)}",
        train_dataloader=dict(
            batch_size=2,
            dataset=[dict(inputs=torch.ones(1))] * 6,
            sampler=dict(type="InfiniteSampler"),
        ),
        train_cfg=dict(type="IterBasedTrainLoop", max_iters=3),
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=0.1)),
        param_scheduler=dict(type="PolyLR", by_epoch=False, end=3),
        default_hooks=dict(
            checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=3),
            logger=dict(type="LoggerHook", interval=1),
        ),
        custom_hooks=[dict(type="EMAHook")],
        log_processor=dict(by_epoch=False),
        default_scope="mmseg",
        log_level="ERROR",
        **options,
    )


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    """What MMEngine itself leaves after three steps."""
    work_dir = tmp_path_factory.mktemp("stock")
    runner = line_runner(work_dir)
    runner.train()
    return work_dir / "iter_3.pth", runner


def same(first, second):
    """Whether two contents are equal, whatever they are made of."""
    if isinstance(first, HistoryBuffer):
        first, second = vars(first), vars(second)
        first.pop("statistics_methods", None)
        second.pop("statistics_methods", None)
    if isinstance(first, dict):
        keys = first.keys() == second.keys()
        return keys and all(same(value, second[key]) for key, value in first.items())
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, torch.Tensor | np.ndarray):
        return first.dtype == second.dtype and bool((first == second).all())
    return type(first) is type(second) and first == second


def test_a_checkpoint_of_the_runner_is_read_as_it_was_written(stock):
    path, runner = stock
    found, trusted = read_checkpoint(path), torch.load(path, weights_only=False)
    assert {"state_dict", "optimizer", "param_schedulers", "message_hub", "meta"} < found.keys()
    assert list(found) == list(trusted)
    assert same(trusted, found)
    logs = found["message_hub"]["log_scalars"]
    assert {type(log) for log in logs.values()} == {HistoryBuffer}
    for name in ("min", "max", "mean", "current"):
        wanted = runner.message_hub.get_scalar("train/loss").statistics(name)
        assert logs["train/loss"].statistics(name) == wanted
    # Written once more, it is still MMEngine's.
    assert same(pickle.loads(pickle.dumps(found["message_hub"])), found["message_hub"])


def test_weights_alone_and_numbers_of_numpy(tmp_path):
    path = tmp_path / "weights.pth"
    weights = OrderedDict({"layer.weight": torch.ones(2, dtype=torch.float16)})
    torch.save(weights, path)
    assert same(weights, read_checkpoint(path))
    # As torch wrote before version 1.6.
    torch.save(weights, path, _use_new_zipfile_serialization=False)
    assert same(weights, read_checkpoint(path))
    arrays = [np.arange(3).astype(code) for code in "?bBhHiIlLefdg"]
    content = dict(arrays=arrays, scalars=[array[1] for array in arrays], text=np.str_("a"))
    content |= dict(dtype=np.dtype("f4"), fortran=np.ones((2, 3), order="F"), empty=np.empty(0))
    torch.save(content, path)
    assert same(content, read_checkpoint(path))


def test_files_of_numpy_1_are_read(tmp_path):
    content = dict(array=np.arange(3), scalar=np.float64(0.5))
    torch.save(content, tmp_path / "new.pth")
    with (
        zipfile.ZipFile(tmp_path / "new.pth") as new,
        zipfile.ZipFile(tmp_path / "old.pth", "w") as old,
    ):
        for name in new.namelist():
            old.writestr(name, new.read(name).replace(b"numpy._core.", b"numpy.core."))
    assert b"numpy.core.multiarray" in (tmp_path / "old.pth").read_bytes()
    assert same(content, read_checkpoint(tmp_path / "old.pth"))


class Attack:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class Reduced:
    """Is pickled as any call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "make",
    [
        Attack,
        lambda path: Reduced(eval, f"open({str(path)!r}, 'w')"),
        # The way from an allowed name to one that is not.
        lambda path: Reduced(getattr, Path, "touch"),
        lambda path: Reduced(getattr, HistoryBuffer, "__init__"),
        lambda path: Reduced(getattr, HistoryBuffer, "update"),
        lambda path: Reduced(getattr, "text", "min"),
        lambda path: Reduced(getattr, np.ndarray, "tofile"),
        lambda path: Reduced(np.load, str(path)),
    ],
)
def test_code_is_refused_and_not_run(tmp_path, make):
    path, touched = tmp_path / "evil.pth", tmp_path / "touched"
    torch.save(dict(state_dict={}, evil=make(touched)), path)
    with pytest.raises(ValueError, match=r"evil\.pth is no checkpoint of tensors") as caught:
        read_checkpoint(path)
    assert not touched.exists()
    assert "weights_only" not in str(caught.value)


def test_what_a_file_names_is_said(tmp_path):
    torch.save(Reduced(np.load, "file"), tmp_path / "evil.pth")
    with pytest.raises(ValueError, match=r"\(it names numpy\.load\)\. Restore it"):
        read_checkpoint(tmp_path / "evil.pth")
    torch.save(Reduced(getattr, "text", "upper"), tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="it asks for the attribute 'upper' of 'text'"):
        read_checkpoint(tmp_path / "evil.pth")


def test_a_log_changes_no_other_log(tmp_path):
    log, other = HistoryBuffer([1.0, 3.0], [1, 1]), HistoryBuffer([5.0], [1])
    log._statistics_methods = {"mean": "nothing that can be called"}
    torch.save(dict(log=log), tmp_path / "log.pth")
    found = read_checkpoint(tmp_path / "log.pth")["log"]
    assert found.statistics("mean") == 2
    assert other.statistics("mean") == 5


def test_threads_read_at_the_same_time(stock):
    # As jobs of a benchmark do that begin from one warm-up.
    with ThreadPoolExecutor(4) as threads:
        for found in threads.map(read_checkpoint, [stock[0]] * 40):
            assert found["meta"]["iter"] == 3


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_truncated_files_are_refused(stock, tmp_path, share):
    content = stock[0].read_bytes()
    (tmp_path / "cut.pth").write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"cut\.pth is no checkpoint"):
        read_checkpoint(tmp_path / "cut.pth")


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_damaged_bytes_are_refused_or_harmless(stock, place, change):
    content = bytearray(stock[0].read_bytes())
    content[place % len(content)] ^= change
    damaged = stock[0].with_name("damaged.pth")
    damaged.write_bytes(content)
    with contextlib.suppress(ValueError):
        assert isinstance(read_checkpoint(damaged), dict)


@pytest.mark.parametrize("content", [b"a text", b"\x80\x02]q\x00.", b"PK\x03\x04"])
def test_files_of_another_kind_are_refused(tmp_path, content):
    (tmp_path / "notes.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"notes\.pth is no checkpoint"):
        read_checkpoint(tmp_path / "notes.pth")


def test_other_contents_and_missing_files(tmp_path):
    torch.save([torch.ones(1)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"list\.pth holds a list, expected the checkpoint"):
        read_checkpoint(tmp_path / "list.pth")
    for name in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(FileNotFoundError, match="does not exist or is no file"):
            read_checkpoint(name)


def stored(content, path):
    torch.save(content, path)
    return path


SCHEDULERS = {
    name: kind
    for name, kind in vars(param_scheduler).items()
    if inspect.isclass(kind) and name.endswith("ParamScheduler") and name != "_ParamScheduler"
}
ARGUMENTS = dict(
    ConstantParamScheduler={},
    CosineAnnealingParamScheduler=dict(T_max=5),
    CosineRestartParamScheduler=dict(periods=[5, 5], restart_weights=[1, 1], eta_min=0),
    ExponentialParamScheduler=dict(gamma=0.9),
    LinearParamScheduler={},
    MultiStepParamScheduler=dict(milestones=[2]),
    OneCycleParamScheduler=dict(eta_max=0.1, total_steps=9, anneal_strategy="linear"),
    PolyParamScheduler={},
    ReduceOnPlateauParamScheduler=dict(monitor="loss"),
    StepParamScheduler=dict(step_size=2),
)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_state_of_every_schedule_is_read(tmp_path, name):
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    arguments = ARGUMENTS[name]
    if name != "OneCycleParamScheduler":
        arguments = dict(arguments, begin=0, end=10)
    schedule = SCHEDULERS[name](optimizer, "lr", **arguments)
    schedule.step(*([dict(loss=1.0)] if "Plateau" in name else ()))
    state = schedule.state_dict()
    assert same(state, read_checkpoint(stored(state, tmp_path / "state.pth")))


@pytest.mark.parametrize(
    "kind",
    [kind for name, kind in vars(torch.optim).items()
     if inspect.isclass(kind) and name not in ("Optimizer", "SparseAdam")],
)  # fmt: skip
def test_the_state_of_every_optimizer_is_read(tmp_path, kind):
    layer = nn.Linear(2, 2, bias=False)
    optimizer = kind(layer.parameters(), lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = layer(torch.ones(1, 2)).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    state = optimizer.state_dict()
    assert state["state"] or kind is torch.optim.SGD
    assert same(state, read_checkpoint(stored(state, tmp_path / "state.pth")))


def test_configs_and_command_lines_beside_weights_are_read(tmp_path, monkeypatch):
    cfg = Config(dict(model=dict(heads=[dict(type="A")])))
    options = argparse.Namespace(lr=0.1)
    meta = dict(cfg=cfg, model=cfg.model, options=options, lists=defaultdict(list, a=[1]))
    found = read_checkpoint(stored(dict(meta=meta), tmp_path / "new.pth"))["meta"]
    assert found["cfg"].content == cfg.to_dict()
    assert found["model"] == cfg.model.to_dict()
    assert found["options"] == options
    assert found["lists"] == dict(a=[1])
    # What was read is written and read again.
    again = read_checkpoint(stored(dict(meta=found), tmp_path / "again.pth"))["meta"]
    assert again["cfg"].content == cfg.to_dict()

    # As MMCV had them before version 2.
    old = types.ModuleType("mmcv.utils.config")
    old.ConfigDict = type("ConfigDict", (addict.Dict,), dict(__module__=old.__name__))
    monkeypatch.setitem(sys.modules, old.__name__, old)
    monkeypatch.setitem(sys.modules, "mmcv.utils", types.ModuleType("mmcv.utils"))
    meta = dict(config=old.ConfigDict(a=dict(b=[1])), CLASSES=("road", "car"))
    path = stored(dict(meta=meta, state_dict={}), tmp_path / "old.pth")
    found = read_checkpoint(path)["meta"]
    assert found["config"] == dict(a=dict(b=[1]))
    assert not isinstance(found["config"], old.ConfigDict)


def attack(path, touched, **content):
    return stored(dict(content, evil=Attack(touched)), path)


def test_no_way_of_mmengine_runs_code(stock, tmp_path):
    touched = tmp_path / "touched"
    whole = torch.load(stock[0], weights_only=False)
    evil = str(attack(tmp_path / "evil.pth", touched, **whole))
    for options in (dict(load_from=evil), dict(load_from=evil, resume=True)):
        runner = line_runner(tmp_path / "run", **options)
        with pytest.raises(ValueError, match=r"evil\.pth is no checkpoint of tensors"):
            runner.train()
    with pytest.raises(ValueError, match=r"evil\.pth is no checkpoint of tensors"):
        load_checkpoint(Line(), evil)
    with open(evil, "rb") as file, pytest.raises(ValueError, match="no checkpoint of tensors"):
        read_file(file)
    assert not touched.exists()


def test_a_config_in_a_checkpoint_is_no_program(stock, tmp_path):
    touched = tmp_path / "touched"
    content = read_checkpoint(stock[0])
    content["meta"]["config"] = f"open({str(touched)!r}, 'w')"
    path = stored(content, tmp_path / "text.pth")
    runner = line_runner(tmp_path, load_from=str(path), resume=True)
    runner.train()
    assert runner.iter == 3
    assert not touched.exists()


def test_what_a_user_trusts_is_read(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv(TRUST_VARIABLE, str(tmp_path / "other.pth"))
    touched = tmp_path / "touched"
    path = attack(tmp_path / "evil.pth", touched, state_dict=Line().state_dict())
    with pytest.raises(ValueError, match="--trust-checkpoint FILE"):
        read_checkpoint(path)
    monkeypatch.chdir(tmp_path)
    trust(["evil.pth"])
    assert os.environ[TRUST_VARIABLE].split(os.pathsep) == [str(tmp_path / "other.pth"), "evil.pth"]
    load_checkpoint(Line(), str(path))
    assert touched.exists()
    # The others stay as they are.
    touched.unlink()
    with pytest.raises(ValueError, match="no checkpoint of tensors"):
        read_checkpoint(attack(tmp_path / "third.pth", touched))
    assert not touched.exists()


@pytest.fixture
def address(tmp_path, monkeypatch):
    """A server of the files in a folder."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    (tmp_path / "served").mkdir()
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "served")
    )
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_what_is_downloaded_is_read_in_the_same_way(address, tmp_path, monkeypatch):
    weights = Line().state_dict()
    torch.save(weights, tmp_path / "served" / "good.pth")
    touched = tmp_path / "touched"
    attack(tmp_path / "served" / "evil.pth", touched)
    said = []
    monkeypatch.setattr(remote_weights, "print_log", lambda text, **_: said.append(text))
    assert same(weights, read_checkpoint(f"{address}/good.pth"))
    stored_at = tmp_path / "hub" / "checkpoints" / "good.pth"
    assert said == [f"Downloading {address}/good.pth to {stored_at}."]
    load_checkpoint(Line(), f"{address}/good.pth", strict=True)
    for read in (read_checkpoint, functools.partial(load_checkpoint, Line())):
        with pytest.raises(ValueError, match=r"evil\.pth is no checkpoint of tensors"):
            read(f"{address}/evil.pth")
    assert not touched.exists()
    with pytest.raises(FileNotFoundError, match=r"none\.pth could not be downloaded"):
        read_checkpoint(f"{address}/none.pth")
