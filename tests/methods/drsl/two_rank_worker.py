"""Two ranks: a training step's values and gradients, and what is broadcast; results go to files 0.pt and 1.pt.

python two_rank_worker.py FOLDER
"""

import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import torch
from mmseg.utils import register_all_modules
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tiny_adaptor import batch, build

import mmdrsl.methods.drsl.functional as F
from mmdrsl.methods.crst import ModelRegularizationTerm
from mmdrsl.methods.cycada_features import FeatureAdaptationTerm
from mmdrsl.methods.drsl.mmdl_head import MMDLHead
from mmdrsl.methods.drsl.mode_alignment import StochasticModeAlignmentLoss
from mmdrsl.methods.drsl.mode_maintenance_hook import ModeMaintenanceHook
from mmdrsl.methods.drsl.mode_metric import ModeMetricLoss
from mmdrsl.methods.seg_uncertainty import RectifiedCrossEntropyTerm
from mmdrsl.models.losses.segmentation_losses import WeightedCrossEntropyLoss

CLASSES, MODES, CHANNELS, DIM = 4, 2, 6, 5
EVERY_PIXEL = 10**6
# So narrow that every pixel draws its nearest mode.
NARROW = 1e-2
# Losses with the global value on every rank, and losses whose mean over the ranks it is.
GLOBAL, AVERAGED = ("balanced", "plain"), ("cross_entropy", "mrkld", "rectified")
ACCURACIES = (0.9, 0.4)


class Step(nn.Module):
    """Heads and losses of one step, with every pixel in the sample of the mode losses."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head = MMDLHead(
            in_channels=CHANNELS, num_classes=CLASSES, num_modes=MODES, embedding_dim=DIM,
            hidden_channels=8, norm_cfg=dict(type="GN", num_groups=2),
        )  # fmt: skip
        self.classifiers = nn.ModuleList(nn.Conv2d(CHANNELS, CLASSES, 1) for _ in range(2))
        options = dict(max_pixels_per_class=EVERY_PIXEL)
        self.balanced = ModeMetricLoss(usage_weight=0.5, spread_weight=0.5, **options)
        self.plain = ModeMetricLoss(class_balanced=False, usage_weight=0, **options)
        self.cross_entropy = WeightedCrossEntropyLoss(class_weight=[1.0, 3.0, 0.5, 2.0])
        self.mrkld = ModelRegularizationTerm(weight=1.0)
        self.rectified = RectifiedCrossEntropyTerm()

    def forward(self, source, source_labels, target, target_labels, weights):
        modes, bandwidth = self.head.modes(), self.head.bandwidth
        logits = [classifier(target) for classifier in self.classifiers]
        step = SimpleNamespace(
            domains=dict(target=SimpleNamespace(labels=target_labels)),
            ignore_index=255,
            full_size_logits=lambda domain, head=None: logits[0 if head is None else 1],
        )
        rectified = self.rectified(step)
        return dict(
            balanced=self.balanced(self.head([source]), source_labels, modes, bandwidth),
            plain=self.plain(self.head([target]), target_labels, modes, bandwidth),
            cross_entropy=self.cross_entropy(logits[0], target_labels, weight=weights),
            mrkld=self.mrkld(step)["loss_mrkld"],
            rectified=rectified["loss_main"] + rectified["loss_auxiliary"],
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


def alignment(rank):
    """Alignment loss of a rank's pixels, its leaves, and how many modes both domains use there."""
    generator = torch.Generator().manual_seed(10 + rank)
    maps, labels, groups = [], [], []
    modes = F.normalize(torch.randn(3, MODES, DIM, generator=torch.Generator().manual_seed(3)))
    for _ in ("source", "target"):
        vectors = F.normalize(torch.randn(1, 6, 5, DIM, generator=generator))
        classes = torch.randint(3 - rank, (1, 6, 5), generator=generator)
        nearest = (vectors[..., None, :] - modes[classes]).square().sum(-1).argmin(-1)
        maps.append(vectors.movedim(-1, 1).requires_grad_())
        labels.append(classes)
        groups.append(torch.bincount((classes * MODES + nearest).flatten(), minlength=3 * MODES))
    loss = StochasticModeAlignmentLoss(num_pairs=7, min_pixels=4)(
        maps[0], labels[0], maps[1], labels[1], modes, NARROW,
        generator=torch.Generator().manual_seed(rank),
    )  # fmt: skip
    return loss, maps, int((torch.minimum(*groups) >= 4).sum())


class Images:
    def __len__(self):
        return 2

    def __getitem__(self, index):
        packed = batch("source", seed=index)
        return dict(inputs=packed["inputs"][0], data_samples=packed["data_samples"][0])


def maintained(rank):
    """Modes and their momentum after the hook, from a model that differs between the ranks."""
    model = build(seed=rank)
    head = model.heads["mmdl"]
    optimizer = torch.optim.SGD([head.representatives], lr=0.1, momentum=0.9)
    optimizer.state[head.representatives]["momentum_buffer"] = torch.ones_like(head.representatives)
    runner = SimpleNamespace(
        model=model, seed=3, iter=3, logger=SimpleNamespace(info=lambda _: None),
        optim_wrapper=SimpleNamespace(optimizer=optimizer),
        train_dataloader=SimpleNamespace(dataset=Images()),
    )  # fmt: skip
    before = head.representatives.detach().clone()
    ModeMaintenanceHook(kmeans_iteration=4).after_train_iter(runner, 0)
    return dict(
        before=before,
        modes=head.representatives.detach().clone(),
        momentum=optimizer.state[head.representatives]["momentum_buffer"],
        class_frequency=head.class_frequency,
        training=model.training,
    )


def rolling_accuracy(rank):
    """Accuracy that the gate of CyCADA's features keeps."""
    term = FeatureAdaptationTerm(gate=dict(window=2))
    return term.after_step(dict(domain_accuracy=torch.tensor(ACCURACIES[rank])))


def run_rank(rank, folder):
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'address'}",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    step = Step()
    wrapped = nn.parallel.DistributedDataParallel(step, broadcast_buffers=False)
    values, gradients = {}, {}
    for part in (*GLOBAL, *AVERAGED):
        losses = wrapped(*(tensor[rank : rank + 1] for tensor in global_batch()))
        values[part] = losses[part].item()
        step.zero_grad()
        # Parts that are not looked at stay in the graph with factor zero.
        (losses[part] + 0 * sum(losses.values())).backward()
        gradients[part] = {name: p.grad.clone() for name, p in step.named_parameters()}
    loss, maps, _ = alignment(rank)
    loss.backward()
    values["alignment"], gradients["alignment"] = loss.item(), [each.grad for each in maps]
    torch.save(
        dict(
            values=values,
            gradients=gradients,
            maintained=maintained(rank),
            gate=rolling_accuracy(rank),
        ),
        folder / f"{rank}.pt",
    )


def main(folder):
    torch.set_num_threads(1)
    register_all_modules(init_default_scope=True)
    # Nothing was computed yet, so that a fork is safe, and saves the second import of everything.
    context = torch.multiprocessing.get_context("fork")
    ranks = [context.Process(target=run_rank, args=(rank, folder)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    return any(process.exitcode for process in ranks)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
