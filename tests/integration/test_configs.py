"""Every config loads, says what it is, and is composed of one model, one pair and one method."""

import ast
import functools
import tokenize
from collections import Counter

import pytest
from config_folders import (
    BASES,
    EVERY_CONFIG,
    LEAVES,
    TRANSLATORS,
    bases_of,
    load,
    name_of,
    representatives,
)
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS
from tested_page import distinct_models
from torch import nn

from mmdrsl.engine.round_schedule import build_phases

REPRESENTATIVES = representatives()


def code_lines(path):
    """Numbers of the lines that hold code: no comment, no docstring, no title, not empty."""
    with open(path, "rb") as file:
        tokens = [t for t in tokenize.tokenize(file.readline) if t.type != tokenize.ENCODING]
    found = {
        number
        for token in tokens
        if token.type != tokenize.COMMENT and token.string.strip()
        for number in range(token.start[0], token.end[0] + 1)
    }
    docstring, *body = ast.parse(path.read_text()).body
    # A title in tables composes nothing.
    titles = [each for each in body if ast.unparse(each).startswith("title = ")]
    for statement in [docstring, *titles]:
        found -= set(range(statement.lineno, statement.end_lineno + 1))
    return found


@pytest.mark.parametrize("path", EVERY_CONFIG, ids=name_of)
def test_config_loads_and_says_what_it_is(path):
    load(path)
    header = ast.get_docstring(ast.parse(path.read_text()))
    assert header
    if path in [*LEAVES, *TRANSLATORS]:
        command = f"python tools/train.py configs/{name_of(path)}.py"
        assert any(line.startswith(command) for line in header.splitlines())


@pytest.mark.parametrize("path", LEAVES, ids=name_of)
def test_leaf_is_one_model_one_pair_one_method(path):
    kinds = Counter(base.relative_to(BASES).parts[0] for base in bases_of(path))
    assert {kind: kinds.pop(kind) for kind in ("models", "pairs", "methods")} == dict(
        models=1, pairs=1, methods=1
    )
    # A network with an optimizer of its own brings it.
    assert kinds.keys() <= {"schedules"}
    assert len(code_lines(path)) <= 10


@pytest.mark.parametrize("path", LEAVES, ids=name_of)
def test_leaf_has_everything_of_its_method_and_pair(path):
    cfg = load(path)
    assert cfg.model.type == "UDASegmentor"
    parts = {base.parent.name: load(base) for base in bases_of(path)}
    method, pair = parts["methods"], parts["pairs"]
    for key, value in [*method.method.items(), *pair.pair_model.items()]:
        # A pair may have its own way with statistics, and its own output stride.
        given = cfg.model[key]
        assert given.keys() >= value.keys() if isinstance(value, dict) else given is not None
    kinds = [
        {name: term.type for name, term in terms.items()}
        for terms in (cfg.model.terms, method.method.terms)
    ]
    assert kinds[0] == kinds[1]
    assert cfg.get("find_unused_parameters", False) or not cfg.model.get("discriminators")
    hooks = [*cfg.default_hooks.values(), *cfg.get("custom_hooks", [])]
    # A hook that a method only changes must be there.
    assert all("type" in hook for hook in hooks)
    assert method.get("method_hooks", {}).keys() <= cfg.default_hooks.keys()
    rounds = cfg.default_hooks.get("self_training")
    if rounds is not None:
        build_phases(rounds.warmup_iterations, rounds.rounds, cfg.train_cfg.max_iters)


class Facts:
    """What is worth knowing about a built model and its optimizer, without keeping them."""

    def __init__(self, path):
        cfg = load(path)
        model = MODELS.build(cfg.model)
        optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
        options = {
            id(parameter): group
            for group in optimizer.param_groups
            for parameter in group["params"]
        }
        self.num_parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self.options = {name: options[id(p)] for name, p in model.named_parameters()}
        for group in optimizer.param_groups:
            del group["params"]
        self.paramwise = cfg.optim_wrapper.paramwise_cfg
        self.needs_teacher = any(term.needs_teacher for term in model.terms.values())
        self.norms = {
            f"{prefix}.{name}"
            for prefix, module in model.named_modules()
            if isinstance(module, (nn.LayerNorm, nn.modules.batchnorm._BatchNorm))
            for name, _ in module.named_parameters(recurse=False)
        }


@functools.cache
def facts_of(path):
    return Facts(path)


@pytest.mark.parametrize("path", REPRESENTATIVES, ids=name_of)
def test_representative_builds_with_its_optimizer(path, tested):
    facts, cfg = facts_of(path), load(path)
    for name, options in facts.options.items():
        moves_freely = name.endswith("representatives") or name.startswith("discriminators.")
        is_norm = name in facts.norms and facts.paramwise.get("norm_decay_mult") == 0
        assert (options["weight_decay"] == 0) is (moves_freely or is_norm), name
    if facts.needs_teacher:
        teacher = cfg.default_hooks.teacher
        assert teacher.type == "MeanTeacherHook"
        assert teacher.begin <= cfg.default_hooks.self_training.warmup_iterations
    tested.parameters[name_of(path)] = facts.num_parameters


def test_every_key_of_an_optimizer_names_parameters():
    names = {name for path in REPRESENTATIVES for name in facts_of(path).options}
    for path in REPRESENTATIVES:
        for key in facts_of(path).paramwise.custom_keys:
            assert any(key in name for name in names), (name_of(path), key)


def other_distinct_models():
    """One leaf per distinct model that the representatives leave out."""
    covered = set(map(name_of, REPRESENTATIVES))
    by_name = {name_of(path): path for path in LEAVES}
    return [by_name[names[0]] for names in distinct_models().values() if not covered & set(names)]


@pytest.mark.slow
@pytest.mark.parametrize("path", other_distinct_models(), ids=name_of)
def test_distinct_model_builds(path, tested):
    tested.parameters[name_of(path)] = Facts(path).num_parameters


def test_translators_train_without_the_hooks_and_loops_of_an_adaptation():
    assert TRANSLATORS
    for path in TRANSLATORS:
        cfg = load(path)
        assert cfg.default_hooks.keys() - load(
            BASES / "default_runtime.py"
        ).runtime_hooks.keys() == {"samples"}
        assert cfg.val_cfg is cfg.test_cfg is None
        assert cfg.optim_wrapper.keys() == {"constructor", "generators", "discriminators"}
