"""One rank of two: a training step's values and gradients, and the hooks that broadcast; results go to a file.

python two_rank_worker.py RANK ADDRESS_FILE RESULT_FILE
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from mmseg.utils import register_all_modules
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from mmdrsl.engine.hooks.mode_memory_hook import ModeMemoryHook
from test_uda_segmentor import batch as packed_batch
from test_uda_segmentor import build as build_adaptor

import mmdrsl.methods.drsl.functional as F
from mmdrsl.methods.drsl.mmdl_head import MMDLHead
from mmdrsl.methods.drsl.mode_alignment import StochasticModeAlignmentLoss
from mmdrsl.methods.drsl.mode_maintenance_hook import ModeMaintenanceHook
from mmdrsl.methods.drsl.mode_metric import ModeMetricLoss
from mmdrsl.models.losses.rank_sums import sum_over_ranks

CLASSES, MODES, CHANNELS, DIM = 4, 2, 6, 5
EVERY_PIXEL = 10**6
PARTS = ("balanced", "plain", "means")


class Step(nn.Module):
    """Head and losses of one step; every pixel is in the sample, modes are the most probable ones."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head = MMDLHead(
            in_channels=CHANNELS, num_classes=CLASSES, num_modes=MODES, embedding_dim=DIM,
            hidden_channels=8, norm_cfg=dict(type="GN", num_groups=2),
        )  # fmt: skip
        options = dict(max_pixels_per_class=EVERY_PIXEL, sync_class_counts=True)
        self.balanced = ModeMetricLoss(usage_weight=0.5, spread_weight=0.5, **options)
        self.plain = ModeMetricLoss(class_balanced=False, usage_weight=0, **options)
        self.means = StochasticModeAlignmentLoss(distance="mean", stochastic=False, **options)

    def forward(self, source, source_labels, target, target_labels, weights):
        source, target = self.head([source]), self.head([target])
        modes, bandwidth = self.head.modes(), self.head.bandwidth
        return dict(
            balanced=self.balanced(source, source_labels, modes, bandwidth),
            plain=self.plain(target, target_labels, modes, bandwidth, weights),
            means=self.means(
                source, source_labels, target, target_labels, modes, bandwidth, weights
            ),
        )


def global_batch():
    """Two images per domain; the ranks see different classes, and rank 1 no valid target pixel of class 0."""
    generator = torch.Generator().manual_seed(1)
    shape = (2, 16, 16)
    source_labels = torch.randint(CLASSES, shape, generator=generator)
    source_labels[0][source_labels[0] == 3] = 255
    source_labels[1][source_labels[1] == 0] = 1
    target_labels = torch.randint(CLASSES, shape, generator=generator)
    target_labels[1][target_labels[1] != 2] = 255
    features = [torch.randn(2, CHANNELS, 16, 16, generator=generator) for _ in range(2)]
    weights = torch.rand(shape, generator=generator)
    return features[0], source_labels, features[1], target_labels, weights


def pair_case(rank):
    """Leaf embeddings and groups of one rank for the pair distances."""
    generator = torch.Generator().manual_seed(10 + rank)
    values = [
        F.normalize(torch.randn(30, DIM, generator=generator, dtype=torch.float64)).requires_grad_()
        for _ in range(2)
    ]
    groups = [torch.randint(5 - 2 * rank, (30,), generator=generator) for _ in range(2)]
    return values, groups


def pair_alignment(rank, distance, combine):
    values, groups = pair_case(rank)
    loss = F.mode_alignment(
        values[0], groups[0], values[1], groups[1], 6, distance=distance, num_pairs=7,
        generator=torch.Generator().manual_seed(rank), combine=combine,
    )  # fmt: skip
    return loss, values, groups


class Images:
    def __len__(self):
        return 2

    def __getitem__(self, index):
        packed = packed_batch("source", seed=index)
        return dict(inputs=packed["inputs"][0], data_samples=packed["data_samples"][0])


def hook_results(rank):
    """Modes, momentum and memory after the hooks, from a model that differs between the ranks."""
    model = build_adaptor(seed=rank)
    head = model.heads["mmdl"] = MMDLHead(
        in_channels=32, num_classes=3, num_modes=MODES, embedding_dim=DIM, hidden_channels=8,
        memory_size=3,
    )  # fmt: skip
    head.memory.fill_(rank)
    optimizer = torch.optim.SGD([head.representatives], lr=0.1, momentum=0.9)
    optimizer.state[head.representatives]["momentum_buffer"] = torch.ones_like(head.representatives)
    runner = SimpleNamespace(
        model=model, seed=3, iter=3, logger=SimpleNamespace(info=lambda _: None),
        optim_wrapper=SimpleNamespace(optimizer=optimizer),
        train_dataloader=SimpleNamespace(dataset=Images()),
    )  # fmt: skip
    before = head.representatives.detach().clone()
    ModeMaintenanceHook(kmeans_iteration=4).after_train_iter(runner, 0)
    ModeMemoryHook(interval=4).after_train_iter(runner, 0)
    return dict(
        before=before,
        modes=head.representatives.detach().clone(),
        momentum=optimizer.state[head.representatives]["momentum_buffer"],
        memory=head.memory,
        memory_written=head.memory_written,
        training=model.training,
    )


def main(rank, address, result):
    torch.set_num_threads(1)
    register_all_modules(init_default_scope=True)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{address}", rank=rank, world_size=2
    )
    step = Step()
    wrapped = nn.parallel.DistributedDataParallel(step, broadcast_buffers=False)
    values, gradients = {}, {}
    for part in PARTS:
        losses = wrapped(*(tensor[rank : rank + 1] for tensor in global_batch()))
        values[part] = losses[part].item()
        step.zero_grad()
        # Parts that are not looked at stay in the graph with factor zero.
        (losses[part] + 0 * sum(losses.values())).backward()
        gradients[part] = {name: p.grad.clone() for name, p in step.named_parameters()}
    for distance in ("pair", "energy"):
        loss, (source, target), _ = pair_alignment(rank, distance, sum_over_ranks)
        loss.backward()
        values[distance], gradients[distance] = loss.item(), (source.grad, target.grad)
    torch.save(dict(values=values, gradients=gradients, hooks=hook_results(rank)), result)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
