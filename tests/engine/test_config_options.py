"""``--cfg-options`` in every tool: names that are nobody's are refused, with the nearest right one."""

import argparse
import re
import subprocess

import pytest
from mmengine.config import Config
from short_runs import ROOT

from mmdrsl.engine.config_options import (
    _accepted,
    _of_the_runner,
    add_config_options,
    override,
)
from mmdrsl.engine.launch import read_config

DRSL = "configs/drsl/deeplabv3plus_scenes2scenes.py"


@pytest.fixture(scope="module")
def drsl():
    return read_config(ROOT / DRSL)


def overridden(cfg, **options):
    cfg = Config(cfg.to_dict())
    override(cfg, options)
    return cfg


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # Entries that are there.
        ("train_cfg.max_iters", 7),
        ("default_hooks.self_training.rounds.2.iterations", 5),
        ("train_dataloader.dataset.source.pipeline.2.scale", (64, 32)),
        # Arguments of a registered type, of its base, of PyTorch's and of the Runner, that no config has set.
        ("default_hooks.self_training.num_workers", 2),
        ("default_hooks.checkpoint.save_optimizer", False),
        ("model.segmentor.decode_head.dropout_ratio", 0.2),
        ("train_dataloader.dataset.target.ann_file", "list.txt"),
        ("optim_wrapper.optimizer.betas", (0.9, 0.99)),
        ("optim_wrapper.accumulative_counts", 2),
        ("train_dataloader.drop_last", True),
        ("randomness.deterministic", True),
        ("load_from", "a.pth"),
        ("find_unused_parameters", True),
        # Arguments of what an entry without a type goes to.
        ("default_hooks.self_training.labeler.scales", [1.0, 2.0]),
        ("default_hooks.self_training.labeler.policy.lowest_threshold", 0.1),
        ("model.segmentor.test_cfg.stride", (8, 8)),
        ("optim_wrapper.paramwise_cfg.custom_keys.anything.lr_mult", 0.5),
        ("optim_wrapper.paramwise_cfg.layer_decay", 0.9),
        # The Runner's own hook, switched off.
        ("default_hooks.runtime_info", None),
    ],
)
def test_names_that_have_a_place(drsl, name, value):
    found = overridden(drsl, **{name: value})
    for part in name.split("."):
        found = found[int(part)] if isinstance(found, list) else found[part]
    assert found == value or tuple(found) == value


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("trian_cfg.max_iters", "train_cfg.max_iters"),
        ("load_form", "load_from"),
        ("train_cfg.max_iter", "train_cfg.max_iters"),
        ("default_hooks.self_training.num_worker", "default_hooks.self_training.num_workers"),
        ("default_hooks.self_traning.num_workers", "default_hooks.self_training.num_workers"),
        ("default_hooks.chekpoint", "default_hooks.checkpoint"),
        # The stock hook takes further arguments and passes them on.
        ("default_hooks.checkpoint.intervall", "default_hooks.checkpoint.interval"),
        ("default_hooks.self_training.rounds.0.target_shar", "rounds.0.target_share"),
        ("default_hooks.self_training.labeler.flips", "labeler.flip"),
        ("model.terms.aligment.weight", "model.terms.alignment.weight"),
        ("model.segmentor.backbone.deptth", "model.segmentor.backbone.depth"),
        ("optim_wrapper.optimizer.lrr", "optim_wrapper.optimizer.lr"),
        ("train_dataloader.batchsize", "train_dataloader.batch_size"),
        ("train_dataloader.dataset.target.data_rot", "train_dataloader.dataset.target.data_root"),
    ],
)
def test_a_misspelt_name_is_refused_with_the_nearest(drsl, name, nearest):
    before = drsl.to_dict()
    message = rf"--cfg-options {re.escape(name)}: .*did you mean .*{re.escape(nearest)}\?"
    with pytest.raises(ValueError, match=message):
        overridden(drsl, **{name: 1})
    assert drsl.to_dict() == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("zzzz", "the config has no entry 'zzzz'"),
        ("train_cfg.zzzz.max_iters", r"train_cfg \(IterBasedTrainLoop\) has no entry 'zzzz'"),
        ("default_hooks.self_training.rounds.7.iterations", "has 3 entries, .* found '7'"),
        ("default_hooks.self_training.rounds.x", "has 3 entries, .* found 'x'"),
        ("train_cfg.max_iters.x", "train_cfg.max_iters.x: "),
    ],
)
def test_a_name_of_nothing_is_refused(drsl, name, message):
    with pytest.raises(ValueError, match=message):
        overridden(drsl, **{name: 1})


def test_a_type_in_the_same_command_brings_its_arguments(drsl):
    place = "model.segmentor.backbone.init_cfg"
    cfg = overridden(drsl, **{f"{place}.type": "Pretrained", f"{place}.checkpoint": "a.pth"})
    assert cfg.model.segmentor.backbone.init_cfg == dict(type="Pretrained", checkpoint="a.pth")
    cfg = overridden(
        drsl, **{"default_hooks.shares.type": "RunCostHook", "default_hooks.shares.priority": 10}
    )
    assert cfg.default_hooks.shares.type == "RunCostHook"
    with pytest.raises(ValueError, match=r"did you mean .*checkpoint"):
        overridden(drsl, **{f"{place}.type": "Pretrained", f"{place}.chekpoint": "a.pth"})


def test_a_variable_of_the_files_is_said_to_be_used_up(drsl, capsys):
    overridden(drsl, crop_size=(32, 32))
    assert "crop_size names a variable of the config's files" in capsys.readouterr().err
    overridden(drsl, load_from="a.pth")
    assert capsys.readouterr().err == ""


def test_every_entry_of_every_config_has_a_place():
    """What the configs set is accepted where it is asked for again: no type is judged by too short a list."""

    def names(value, place):
        if isinstance(value, dict):
            for key, entry in value.items():
                if "type" in value:
                    yield [*place, str(key)], value
                yield from names(entry, [*place, str(key)])
        elif isinstance(value, list | tuple):
            for index, entry in enumerate(value):
                yield from names(entry, [*place, str(index)])

    count = 0
    for path in sorted((ROOT / "configs").glob("*/*.py"))[::5]:
        cfg = read_config(path).to_dict()
        read = {key: cfg[key] for key in cfg if key in _of_the_runner()}
        for place, holder in names(read, []):
            known, is_open = _accepted({}, holder, place[:-1])
            assert is_open or place[-1] in known, f"{path}: {place}"
            count += 1
    assert count > 500


def test_every_tool_has_the_same_options():
    """No tool merges by itself, in which a wrong name would make a new entry."""
    found = subprocess.run(
        ["grep", "-rl", "add_config_options", "tools"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    tools = [ROOT / line for line in found.stdout.split()]
    assert len(tools) > 12
    for tool in tools:
        text = tool.read_text()
        assert "DictAction" not in text, tool
        assert "merge_from_dict(args" not in text, tool
        # The benchmark and the demo merge into several configs at once, by the same judgment.
        assert "override(cfg" in text or "plan_runs" in text, tool


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("model.heads", "expected KEY=VALUE"),
        ("=1", "expected KEY=VALUE"),
        ("a={'b':1}", "expected no dictionary; set its entries one by one"),
        ("a=[{'b':1,'c':2},{'b':3}]", "such as param_scheduler.0.end=100"),
        ("a=(1, {'b':1,'c':2})", "expected no dictionary"),
        ("a=[1,2", "as many closing as opening brackets"),
        ("a=1,2)", "as many closing as opening brackets"),
    ],
)
def test_what_cannot_be_read_is_an_error_of_the_command_line(text, problem, capsys):
    """MMEngine would take the first dictionary for a text, and end the others in tracebacks."""
    parser = argparse.ArgumentParser()
    add_config_options(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--cfg-options", text])
    error = capsys.readouterr().err
    assert f"--cfg-options {text}: " in error
    assert problem in error


def test_values_are_read_as_mmengine_reads_them():
    parser = argparse.ArgumentParser()
    add_config_options(parser)
    assert parser.parse_args([]).cfg_options == {}
    texts = ["a.b=1", "c=x=y", "d=[1,2]", "e=[(1,2),(3,4)]", "f=a{hash}"]
    assert parser.parse_args(["--cfg-options", *texts]).cfg_options == {
        "a.b": 1,
        "c": "x=y",
        "d": [1, 2],
        "e": [(1, 2), (3, 4)],
        "f": "a{hash}",
    }
