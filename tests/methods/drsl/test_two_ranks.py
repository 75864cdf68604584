"""Two gloo processes with synchronized class counts against one process with the whole batch."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from two_rank_worker import PARTS, Step, global_batch, pair_alignment

WORKER = Path(__file__).with_name("two_rank_worker.py")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    running = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(rank), str(folder / "address"), str(folder / f"{rank}.pt")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    for process in running:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output[-3000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("part", PARTS)
def test_losses_and_gradients_equal_a_single_process(ranks, part):
    step = Step()
    loss = step(*global_batch())[part]
    gradients = torch.autograd.grad(loss, list(step.parameters()), allow_unused=True)
    assert loss > 0.01
    for rank in ranks:
        assert rank["values"][part] == pytest.approx(loss.item(), rel=1e-5)
        for (name, parameter), gradient in zip(step.named_parameters(), gradients, strict=True):
            expected = torch.zeros_like(parameter) if gradient is None else gradient
            found = rank["gradients"][part][name]
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6, msg=name)
    assert any(gradient is not None and (gradient != 0).any() for gradient in gradients)


@pytest.mark.parametrize("distance", ["pair", "energy"])
def test_alignment_of_pairs_is_the_mean_over_the_modes_of_both_ranks(ranks, distance):
    alone = [pair_alignment(rank, distance, None) for rank in range(2)]
    shared = [
        sum(int(min((s == g).sum(), (t == g).sum()) >= 4) for g in range(6))
        for _, _, (s, t) in alone
    ]
    assert shared[0] != shared[1]
    expected = sum(loss * n for (loss, _, _), n in zip(alone, shared, strict=True)) / sum(shared)
    for rank, (_, values, _) in enumerate(alone):
        assert ranks[rank]["values"][distance] == pytest.approx(expected.item())
        gradients = torch.autograd.grad(expected, values, retain_graph=True)
        # A rank's gradient counts twice: DistributedDataParallel halves the sum over both.
        for found, gradient in zip(ranks[rank]["gradients"][distance], gradients, strict=True):
            torch.testing.assert_close(found, 2 * gradient)


def test_hooks_leave_the_ranks_alike(ranks):
    first, second = (rank["hooks"] for rank in ranks)
    assert not torch.equal(first["before"], second["before"])
    moved = (first["modes"] != first["before"]).all(dim=2)
    assert moved.any()
    for name in ("modes", "momentum"):
        assert torch.equal(first[name][moved], second[name][moved])
    assert (first["momentum"][moved] == 0).all()
    assert (first["momentum"][~moved] == 1).all()
    assert (first["memory_written"] > 0).any()
    for name in ("memory", "memory_written"):
        assert torch.equal(first[name], second[name])
    assert first["training"]
    assert second["training"]
