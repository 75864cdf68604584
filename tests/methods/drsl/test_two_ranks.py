"""Two gloo processes against one process with the whole batch: every mean is over the pixels of both ranks."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from two_rank_worker import ACCURACIES, AVERAGED, GLOBAL, Step, alignment, global_batch

WORKER = Path(__file__).with_name("two_rank_worker.py")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    done = subprocess.run(
        [sys.executable, str(WORKER), str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("part", [*GLOBAL, *AVERAGED])
def test_losses_and_gradients_equal_a_single_process(ranks, part):
    step = Step()
    loss = step(*global_batch())[part]
    gradients = torch.autograd.grad(loss, list(step.parameters()), allow_unused=True)
    assert loss > 0.01
    values = [rank["values"][part] for rank in ranks]
    if part in AVERAGED:
        assert values[0] != pytest.approx(values[1], rel=0.1)
        values = [sum(values) / 2]
    assert values == [pytest.approx(loss.item(), rel=1e-5)] * len(values)
    for rank in ranks:
        for (name, parameter), gradient in zip(step.named_parameters(), gradients, strict=True):
            expected = torch.zeros_like(parameter) if gradient is None else gradient
            found = rank["gradients"][part][name]
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6, msg=name)
    assert any(gradient is not None and (gradient != 0).any() for gradient in gradients)


def test_alignment_is_the_mean_over_the_modes_of_both_ranks(ranks):
    alone = [alignment(rank) for rank in range(2)]
    shared = [number for _, _, number in alone]
    assert 0 < shared[0] != shared[1] > 0
    expected = sum(loss * n for (loss, _, _), n in zip(alone, shared, strict=True)) / sum(shared)
    for rank, (_, maps, _) in zip(ranks, alone, strict=True):
        assert rank["values"]["alignment"] == pytest.approx(expected.item())
        gradients = torch.autograd.grad(expected, maps, retain_graph=True)
        # A rank's gradient counts twice: DistributedDataParallel halves the sum over both.
        for found, gradient in zip(rank["gradients"]["alignment"], gradients, strict=True):
            torch.testing.assert_close(found, 2 * gradient)


def test_maintenance_leaves_the_ranks_alike(ranks):
    first, second = (rank["maintained"] for rank in ranks)
    assert not torch.equal(first["before"], second["before"])
    moved = (first["modes"] != first["before"]).all(dim=2)
    assert moved.any()
    for name in ("modes", "momentum"):
        assert torch.equal(first[name][moved], second[name][moved])
    assert (first["momentum"][moved] == 0).all()
    assert (first["momentum"][~moved] == 1).all()
    assert torch.equal(first["class_frequency"], second["class_frequency"])
    assert first["class_frequency"].unique().numel() > 1
    assert first["training"]
    assert second["training"]


def test_the_gate_has_the_accuracy_of_both_ranks(ranks):
    # Alone, one rank would open its gate and the other would not.
    for rank in ranks:
        assert rank["gate"]["rolling_accuracy"] == pytest.approx(sum(ACCURACIES) / 2)
