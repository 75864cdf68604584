"""State of terms between steps: one process, and two ranks that must agree."""

import multiprocessing
from types import SimpleNamespace

import pytest
import torch
from mmengine import MessageHub
from torch import nn

from mmdrsl.engine.hooks.after_step_hook import AfterStepHook
from mmdrsl.methods.cycada_features import FeatureAdaptationTerm


def runner_with(**terms):
    model = nn.Module()
    model.terms = nn.ModuleDict(terms)
    return SimpleNamespace(model=model, message_hub=MessageHub.get_instance("gate"), iter=0)


def term():
    return FeatureAdaptationTerm(gate=dict(window=2))


def test_reads_its_own_terms_value():
    runner = runner_with(first=term(), second=term(), plain=FeatureAdaptationTerm())
    hook = AfterStepHook()
    hook.before_train(runner)
    outputs = {
        "first.domain_accuracy": torch.tensor(0.9),
        "second.domain_accuracy": torch.tensor(0.3),
    }
    hook.after_train_iter(runner, 0, outputs=outputs)
    # A batch of one domain has no value.
    hook.after_train_iter(runner, 1, outputs={"source.loss_ce": torch.tensor(1.0)})
    hook.after_train_iter(runner, 2, outputs={"first.domain_accuracy": torch.tensor(0.5)})
    gates = {name: module.gate for name, module in runner.model.terms.items()}
    assert gates["first"].accuracy == pytest.approx(0.7)
    assert gates["second"].accuracy == pytest.approx(0.3)
    assert runner.model.calls_after_step
    logged = runner.message_hub.get_scalar("train/first.rolling_accuracy").current()
    assert logged == pytest.approx(0.7)


def test_models_without_such_terms_are_left_alone():
    for runner in (runner_with(plain=FeatureAdaptationTerm()), SimpleNamespace(model=nn.Module())):
        hook = AfterStepHook()
        hook.before_train(runner)
        hook.after_train_iter(runner, 0, outputs={"plain.domain_accuracy": torch.tensor(0.9)})
        assert runner.model.calls_after_step


def one_rank(rank, address, results):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{address}", rank=rank, world_size=2
    )
    runner = runner_with(adaptation=term())
    hook = AfterStepHook()
    # Alone, rank 0 would open its gate and rank 1 would not.
    outputs = {"adaptation.domain_accuracy": torch.tensor((0.9, 0.4)[rank])}
    hook.after_train_iter(runner, 0, outputs=outputs)
    gate = runner.model.terms["adaptation"].gate
    results.put((gate.accuracy, gate.is_open))
    torch.distributed.destroy_process_group()


def test_ranks_decide_alike(tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    ranks = [
        context.Process(target=one_rank, args=(rank, tmp_path / "address", results))
        for rank in range(2)
    ]
    for process in ranks:
        process.start()
    found = [results.get(timeout=120) for _ in ranks]
    for process in ranks:
        process.join()
    for accuracy, is_open in found:
        assert accuracy == pytest.approx(0.65)
        assert is_open
