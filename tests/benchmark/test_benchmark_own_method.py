"""A method of a user's own: a folder outside the package with a term and a config."""

import importlib
import json
import subprocess
import sys

import pytest
from mmseg.registry import MODELS

from mmdrsl.benchmark.execution import check_folders
from mmdrsl.benchmark.pairs import DEFAULT_PAIR
from mmdrsl.benchmark.plan import CONFIGS
from mmdrsl.benchmark.training_run import ROOT

TERM = '''"""Predictions on the target are to use all classes."""

from mmseg.registry import MODELS

from mmdrsl.methods import AdaptationTerm


@MODELS.register_module()
class AllClassesTerm(AdaptationTerm):
    def __init__(self, *, weight=0.1):
        super().__init__(domains=("target",))
        self.weight = weight

    def forward(self, step):
        mean = step.full_size_logits("target").softmax(dim=1).mean(dim=(0, 2, 3))
        return {"loss_classes": self.weight * (mean * mean.clamp(min=1e-6).log()).sum()}
'''
CONFIG = """
_base_ = [
    "{configs}/_base_/models/deeplabv3plus_small.py",
    "{configs}/_base_/pairs/{pair}.py",
    "{configs}/_base_/methods/self_training.py",
]
custom_imports = dict(imports=["mmdrsl", "my_method"])
title = "All classes"
terms = dict(_base_.method["terms"], classes=dict(type="AllClassesTerm"))
model = {{**_base_.method, **_base_.pair_model, "terms": terms}}
"""


def write_method(folder, pair):
    folder.mkdir()
    (folder / "my_method.py").write_text(TERM)
    path = folder / "my_config.py"
    path.write_text(CONFIG.format(configs=CONFIGS, pair=pair))
    return path


@pytest.fixture
def forget(monkeypatch):
    """Leaves no trace of the module in this process."""

    def call(keep_path=False):
        sys.modules.pop("my_method", None)
        MODELS.module_dict.pop("AllClassesTerm", None)
        if not keep_path:
            monkeypatch.undo()

    monkeypatch.setattr(sys, "path", list(sys.path))
    yield call
    call()


def test_it_is_planned_beside_the_others(plan, forget, tmp_path):
    config = write_method(tmp_path / "elsewhere", DEFAULT_PAIR)
    with pytest.raises(ImportError):
        importlib.import_module("my_method")
    asked = ("drsl", f"mine={config}", "source_only")
    runs = plan(*asked, out=tmp_path / "out")
    assert list(runs) == ["source_only", "drsl", "mine"]
    mine, drsl = runs["mine"], runs["drsl"]
    cfg = mine.training.cfg
    # Its term waits for target images: nothing in the warm-up is its own.
    assert runs["source_only"].warmup is drsl.warmup is mine.warmup
    assert "classes" not in mine.warmup.training.cfg.model.terms
    assert "classes" in cfg.model.terms
    assert mine.title == "All classes"
    assert mine.warmup.training.title.startswith("warm-up for Source only, DRSL, All classes, ")
    # The network is the one that is compared, whatever its config is based on.
    assert cfg.model.segmentor == drsl.training.cfg.model.segmentor
    # Its processes import it.
    for each in (cfg, mine.evaluation, mine.warmup.training.cfg):
        assert each.custom_imports["imports"] == ["mmdrsl", "my_method"]
    assert drsl.training.cfg.custom_imports["imports"] == ["mmdrsl"]
    assert {key: mine.protocol[key] for key in ("steps", "labels")} == {
        "steps": drsl.protocol["steps"],
        "labels": drsl.protocol["labels"].split(", weight")[0],
    }
    training = drsl.warmup.training
    training.config_file.parent.mkdir(parents=True)
    training.cfg.dump(training.config_file)
    assert plan(*asked, out=tmp_path / "out")["drsl"].warmup.training.folder == training.folder
    # A call that does not know the method cannot read this warm-up, and does without.
    forget()
    other = plan("drsl", out=tmp_path / "out")["drsl"].warmup.training
    assert other.config_file != training.config_file


def test_it_begins_from_the_warm_up_of_an_earlier_call(plan, forget, tmp_path):
    training = plan("drsl", out=tmp_path / "out")["drsl"].warmup.training
    training.config_file.parent.mkdir(parents=True)
    training.cfg.dump(training.config_file)
    config = write_method(tmp_path / "elsewhere", DEFAULT_PAIR)
    mine = plan(f"mine={config}", out=tmp_path / "out")["mine"]
    assert mine.warmup.training.config_file == training.config_file


def test_its_code_is_a_part_of_its_run_alone(plan, forget, tmp_path):
    """A result of code that has changed since is no result of the method."""
    config = write_method(tmp_path / "elsewhere", DEFAULT_PAIR)

    def planned():
        forget(keep_path=True)
        return plan("drsl", f"mine={config}", out=tmp_path / "out")

    first, again = planned(), planned()
    assert {name: run.hash for name, run in first.items()} == {
        name: run.hash for name, run in again.items()
    }
    (config.parent / "another_config.py").write_text("title = 'beside it'\n")
    assert planned()["mine"].hash == first["mine"].hash
    (config.parent / "my_method.py").write_text(TERM.replace("weight=0.1", "weight=0.2"))
    changed = planned()
    assert changed["drsl"].hash == first["drsl"].hash
    assert changed["mine"].recipe != first["mine"].recipe
    folder = first["mine"].training.folder
    folder.mkdir(parents=True)
    (folder / "hash.txt").write_text(first["mine"].hash)
    with pytest.raises(ValueError, match="other code of a method of your own"):
        check_folders(list(changed.values()))


def test_two_methods_with_modules_of_one_name_are_refused(plan, forget, tmp_path):
    """The second would train with the code of the first."""
    first, second = (write_method(tmp_path / name, DEFAULT_PAIR) for name in ("one", "two"))
    asked = (f"mine={first}", f"other={second}")
    with pytest.raises(
        ValueError, match=r"other imports 'my_method', which is .*one/my_method\.py"
    ):
        plan(*asked)
    (second.parent / "my_method.py").unlink()
    assert list(plan(*asked)) == ["mine", "other"]


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (
            "gta2cs",
            r"label space 'cityscapes19' for 'street10'; source images of .*/gta5 for .*/carla",
        ),
        ("streets2cs", r"target images of .*/cityscapes for .*/camvid"),
    ],
)
def test_a_config_of_another_pair_is_refused(plan, pair, said):
    config = CONFIGS / f"drsl/deeplabv3plus_{pair}.py"
    with pytest.raises(ValueError, match=rf"mine is no config of --pair carla2camvid: .*{said}"):
        plan(f"mine={config}")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("val_evaluator = dict(iou_metrics=['mDice'])", "another val_evaluator"),
        (
            "val_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImage')]))",
            "another pipeline of evaluation",
        ),
    ],
)
def test_an_evaluation_of_ones_own_is_refused(plan, tmp_path, line, said):
    config = tmp_path / "judged.py"
    config.write_text(f"_base_ = ['{CONFIGS}/drsl/deeplabv3plus_{DEFAULT_PAIR}.py']\n{line}\n")
    with pytest.raises(ValueError, match=f"mine is no config of --pair carla2camvid: .*{said}"):
        plan(f"mine={config}")


def test_a_network_of_ones_own_that_is_replaced_is_said(plan, forget, tmp_path):
    runs = plan("drsl", f"mine={write_method(tmp_path / 'own', DEFAULT_PAIR)}")
    assert runs["drsl"].replaced_network is None
    assert runs["mine"].replaced_network == "deeplabv3plus_small"


def test_modules_that_a_method_imports_are_part_of_its_run(plan, forget, tmp_path, monkeypatch):
    """A change in them is a change of the method."""
    path = write_method(tmp_path / "own", DEFAULT_PAIR)
    monkeypatch.delitem(sys.modules, "my_helper", raising=False)
    term, helper = path.parent / "my_method.py", path.parent / "my_helper.py"
    helper.write_text("FACTOR = 1.0\n")
    term.write_text(f"{TERM}\nfrom my_helper import FACTOR  # noqa: E402, F401\n")
    first = plan(f"mine={path}")["mine"].hash
    helper.write_text("FACTOR = 2.0\n")
    assert plan(f"mine={path}")["mine"].hash != first
    helper.write_text("FACTOR = 1.0\n")
    assert plan(f"mine={path}")["mine"].hash == first


def test_further_source_data_are_a_matter_of_the_method(plan, tmp_path):
    config = tmp_path / "more.py"
    lines = [
        f"_base_ = ['{CONFIGS}/drsl/deeplabv3plus_{DEFAULT_PAIR}.py']",
        "source = _base_.train_dataloader.dataset.source",
        "other = dict(source, data_root='elsewhere')",
        "sets = dict(_delete_=True, type='LabeledSets', sets=[source, other])",
        "train_dataloader = dict(dataset=dict(source=sets))",
    ]
    config.write_text("\n".join(lines) + "\n")
    assert list(plan(f"more={config}")) == ["more"]


@pytest.mark.parametrize(
    ("trick", "entry", "value"),
    [
        ("multi_scale_labels", "scales", (0.75, 1.0, 1.25)),
        ("target_bn", "policy", {"highest_threshold": 1.0}),
    ],
)
def test_tricks_of_labels_need_no_labeler_in_the_config(plan, tmp_path, trick, entry, value):
    config = tmp_path / "usual_labels.py"
    config.write_text(
        f"_base_ = ['{CONFIGS}/self_training/deeplabv3plus_{DEFAULT_PAIR}.py']\n"
        "default_hooks = dict(self_training=dict(labeler=None))\n"
    )
    cfg = plan(f"mine={config}", tricks=(trick,))["mine"].training.cfg
    assert cfg.default_hooks.self_training.labeler[entry] == value


def test_tricks_of_labels_find_the_teacher_or_say_so(plan, tmp_path):
    config = tmp_path / "elsewhere.py"
    config.write_text(
        f"_base_ = ['{CONFIGS}/dacs/deeplabv3plus_{DEFAULT_PAIR}.py']\n"
        "custom_hooks = [dict(_base_.default_hooks.teacher)]\n"
        "default_hooks = dict(teacher=None)\n"
    )
    with pytest.raises(ValueError, match=r"\['multi_scale_labels'\] are for the teacher"):
        plan(f"mine={config}", tricks=("multi_scale_labels",))


def test_an_augmentation_without_a_place_is_explained(plan, tmp_path):
    config = tmp_path / "no_flip.py"
    config.write_text(
        f"_base_ = ['{CONFIGS}/drsl/deeplabv3plus_{DEFAULT_PAIR}.py']\n"
        "pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]\n"
        "train_dataloader = dict(dataset=dict(target=dict(pipeline=pipeline)))\n"
    )
    with pytest.raises(ValueError, match=r"comes after RandomFlip, and .*'PackSegInputs'\]: add R"):
        plan(f"mine={config}", tricks=("target_augmentation",))


def test_its_module_is_missing(forget, tmp_path, plan):
    config = write_method(tmp_path / "elsewhere", DEFAULT_PAIR)
    (config.parent / "my_method.py").unlink()
    with pytest.raises(ImportError, match="my_method"):
        plan(f"mine={config}")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_tool_trains_and_evaluates_it(scenes_root, tmp_path):
    config = write_method(tmp_path / "elsewhere", "scenes2scenes")
    rounds = [f"default_hooks.self_training.rounds.{number}.iterations=1" for number in range(3)]
    command = [
        *(sys.executable, "tools/run_benchmark.py", "--pair", "scenes2scenes"),
        *("--data", scenes_root, "--out", tmp_path / "out", "--threads", "1"),
        *("--methods", "drsl", f"mine={config}", "--cfg-options", "train_cfg.max_iters=5", *rounds),
        *("warmup_iterations=2", "default_hooks.self_training.warmup_iterations=2"),
        *("default_hooks.modes.kmeans_iteration=1", "default_hooks.logger.interval=1"),
    ]
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    drsl, mine = json.loads((tmp_path / "out/results.json").read_text())["runs"]
    assert (drsl["method"], mine["method"], mine["title"]) == ("drsl", "mine", "All classes")
    assert drsl["shared_warmup"]
    assert mine["shared_warmup"]
    assert mine["mIoU"] >= 0
    assert "| All classes | 1 |" in (tmp_path / "out/results.md").read_text()
    folder = tmp_path / "out/plain/deeplabv3plus_small/seed_0/mine"
    (records,) = folder.glob("*/vis_data/scalars.json")
    steps = [json.loads(line) for line in records.read_text().splitlines()]
    # From the end of the warm-up on, every step has its loss.
    assert [step["step"] for step in steps if "classes.loss_classes" in step] == [3, 4, 5]
