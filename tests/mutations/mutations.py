"""Small wrongs done to the source, and the tests that must notice each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FUNCTIONAL = "mmdrsl/methods/drsl/functional.py"
METRIC = "mmdrsl/methods/drsl/mode_metric.py"
ALIGNMENT = "mmdrsl/methods/drsl/mode_alignment.py"
RANKS = "mmdrsl/models/losses/rank_sums.py"
HEAD = "mmdrsl/methods/drsl/mmdl_head.py"
MAINTENANCE = "mmdrsl/methods/drsl/mode_maintenance_hook.py"
MEMORY = "mmdrsl/engine/hooks/mode_memory_hook.py"

FORMULAS = "tests/models/losses/test_functional.py"
LOSSES = "tests/models/losses/test_mode_losses.py"
DEGENERATE = "tests/models/losses/test_degenerate_cases.py"
TWO_RANKS = "tests/models/losses/test_two_ranks.py"
STEP = "tests/models/test_uda_segmentor.py"
HEADS = "tests/models/test_drsl_head.py"
LABELS = "tests/models/test_label_maps.py"
HOOKS = "tests/engine/test_hooks.py"
MODE_HOOKS = "tests/engine/test_mode_hooks.py"
LABELER = "tests/self_training/test_labeler.py"
FEATURES = "tests/models/test_feature_maps.py"


@dataclass(frozen=True)
class Mutation:
    """One change of one file.

    Attributes:
        name: What goes wrong.
        path: File, relative to the repository.
        old: Text that occurs exactly once in it.
        new: Text in its place.
        tests: Test files that concern it.
    """

    name: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]

    def apply(self, root: Path) -> str:
        """Change the file below `root`; return its former content.

        Raises:
            ValueError: The text to replace does not occur exactly once.
        """
        file = root / self.path
        content = file.read_text()
        if content.count(self.old) != 1:
            raise ValueError(
                f"Mutation {self.name!r}: its text occurs {content.count(self.old)} times in {self.path}, expected "
                "once; the source has changed, bring the mutation up to date."
            )
        file.write_text(content.replace(self.old, self.new))
        return content


MUTATIONS = (
    Mutation(
        "sign of the alignment flipped (pairs)",
        FUNCTIONAL,
        "return combine((target_weights[first_t] * values).sum())",
        "return -combine((target_weights[first_t] * values).sum())",
        (FORMULAS, LOSSES),
    ),
    Mutation(
        "sign of the alignment flipped (term)",
        "mmdrsl/methods/drsl/mode_alignment_term.py",
        'return {"loss_alignment": weight * loss}',
        'return {"loss_alignment": -weight * loss}',
        (STEP,),
    ),
    Mutation(
        "ignore mask dropped",
        FUNCTIONAL,
        "flat_labels = labels.reshape(-1).long()\n",
        "flat_labels = labels.reshape(-1).long().clamp(0, num_classes - 1)\n",
        (FORMULAS, LOSSES, DEGENERATE),
    ),
    Mutation(
        "ignore mask of MRKLD dropped",
        FUNCTIONAL,
        "valid = labels != ignore_index",
        "valid = torch.ones_like(labels, dtype=torch.bool)",
        (FORMULAS, STEP),
    ),
    Mutation(
        "re-seeding skipped",
        MAINTENANCE,
        "head.representatives[mask] = representatives[mask].to(head.representatives)",
        "pass",
        (HOOKS,),
    ),
    Mutation(
        "optimizer state kept after re-seeding",
        MAINTENANCE,
        "                value[mask] = 0\n",
        "                pass\n",
        (HOOKS, DEGENERATE),
    ),
    Mutation(
        "re-seeded modes not broadcast",
        MAINTENANCE,
        "        broadcast(representatives)\n",
        "",
        (TWO_RANKS,),
    ),
    Mutation(
        "memory of re-seeded modes kept", MAINTENANCE, "head.forget(mask)", "pass", (DEGENERATE,)
    ),
    Mutation(
        "all modes count as dead",
        MAINTENANCE,
        "dead = (usage < usage_floor / num_modes)",
        "dead = (usage >= 0)",
        (HOOKS, DEGENERATE),
    ),
    Mutation(
        "k-means on too few pixels",
        MAINTENANCE,
        "if len(own) < num_modes * SAMPLES_PER_MODE:",
        "if len(own) < num_modes:",
        (HOOKS, DEGENERATE),
    ),
    Mutation(
        "bandwidth not squared in the posterior",
        FUNCTIONAL,
        "scores = -distances / (2 * bandwidth**2)",
        "scores = -distances / (2 * bandwidth)",
        (FORMULAS,),
    ),
    Mutation(
        "posterior normalized by the nearest class only",
        FUNCTIONAL,
        "torch.logsumexp(scores.flatten(1), dim=1, keepdim=True)",
        "torch.logsumexp(scores, dim=2).amax(dim=1, keepdim=True)",
        (FORMULAS,),
    ),
    Mutation(
        "distances not clamped at zero",
        FUNCTIONAL,
        "return (2 - 2 * cosines).clamp(min=0).reshape",
        "return (2 - 2 * cosines).reshape",
        (FORMULAS,),
    ),
    Mutation(
        "distances in half precision under autocast",
        FUNCTIONAL,
        "torch.autocast(embeddings.device.type, enabled=False)",
        "torch.autocast(embeddings.device.type, enabled=torch.is_autocast_cpu_enabled())",
        (LOSSES,),
    ),
    Mutation(
        "own class among the negatives",
        FUNCTIONAL,
        "per_class.masked_fill(own, torch.inf).amin(dim=1)",
        "per_class.amin(dim=1)",
        (FORMULAS, LOSSES),
    ),
    Mutation(
        "hinge dropped",
        FUNCTIONAL,
        "- nearest_other + margin).clamp(min=0)",
        "- nearest_other + margin)",
        (FORMULAS, LOSSES),
    ),
    Mutation(
        "soft minimum not normalized by the number of modes",
        FUNCTIONAL,
        "log_mean = torch.logsumexp(-2 * distances, dim=2) - torch.log(",
        "log_mean = torch.logsumexp(-2 * distances, dim=2) - 0 * torch.log(",
        (FORMULAS,),
    ),
    Mutation(
        "absent classes in the denominator",
        FUNCTIONAL,
        "(sums / counts.clamp(min=1)).sum() / (counts > 0).sum().clamp(min=1)",
        "(sums / counts.clamp(min=1)).sum() / num_classes",
        (FORMULAS, LOSSES),
    ),
    Mutation(
        "sign of the usage entropy flipped",
        FUNCTIONAL,
        "entropy = -torch.xlogy(usage, usage.clamp(min=1e-12))",
        "entropy = torch.xlogy(usage, usage.clamp(min=1e-12))",
        (FORMULAS,),
    ),
    Mutation(
        "sample not class-balanced",
        FUNCTIONAL,
        "return order[position < max_per_class]",
        "return order[: max_per_class * num_classes]",
        (FORMULAS, LOSSES),
    ),
    Mutation(
        "modes never drawn",
        FUNCTIONAL,
        "if not stochastic or len(responsibilities) == 0:",
        "if True:",
        (FORMULAS,),
    ),
    Mutation(
        "variance of the target added to the energy distance",
        FUNCTIONAL,
        "values = 2 * cross - within_s - within_t",
        "values = 2 * cross - within_s + within_t",
        (FORMULAS,),
    ),
    Mutation(
        "pixels paired with themselves",
        FUNCTIONAL,
        "other = (first + 1 + torch",
        "other = (first + torch",
        (FORMULAS,),
    ),
    Mutation(
        "remembered pixels get gradients",
        FUNCTIONAL,
        "memory[rare].detach().to(values)",
        "memory[rare].to(values)",
        (FORMULAS,),
    ),
    Mutation(
        "direction of the two heads' divergence swapped",
        FUNCTIONAL,
        "(mode_probabilities * (modes.log() - segmentation.log()))",
        "(segmentation_probabilities * (segmentation.log() - modes.log()))",
        (FORMULAS,),
    ),
    Mutation(
        "source detached always",
        ALIGNMENT,
        "        if self.detach_source:\n",
        "        if True:\n",
        (LOSSES,),
    ),
    Mutation(
        "pseudo-label weights ignored by the metric loss",
        METRIC,
        "pixel_weights = None if pixel_weights is None else pixel_weights[index]",
        "pixel_weights = None",
        (LOSSES, STEP),
    ),
    Mutation(
        "posterior term dropped",
        METRIC,
        "per_pixel - self.posterior_weight * log_posterior",
        "per_pixel - 0 * log_posterior",
        (LOSSES, STEP),
    ),
    Mutation(
        "counts of this rank alone",
        RANKS,
        "    all_reduce(total)\n",
        "    total = world_size * total\n",
        (TWO_RANKS,),
    ),
    Mutation(
        "gradients of a global sum too small",
        RANKS,
        "total + world_size * (local - local.detach())",
        "total + (local - local.detach())",
        (TWO_RANKS,),
    ),
    Mutation("memory not broadcast", MEMORY, "        broadcast(head.memory)\n", "", (TWO_RANKS,)),
    Mutation(
        "memory writes to one slot",
        HEAD,
        "slots = torch.arange(len(newest), device=newest.device) + self.memory_written[index]",
        "slots = torch.arange(len(newest), device=newest.device)",
        (MODE_HOOKS,),
    ),
    Mutation(
        "representatives not on the sphere",
        HEAD,
        "return functional.normalize(self.representatives)",
        "return 2 * self.representatives",
        (HEADS, STEP),
    ),
    Mutation(
        "alignment not ramped",
        "mmdrsl/methods/drsl/mode_alignment_term.py",
        "self.weight * ramp(step.progress.adaptation_iteration, self.ramp_iterations)",
        "self.weight",
        (STEP,),
    ),
    Mutation(
        "impure cells keep their label",
        "mmdrsl/models/label_maps.py",
        "return torch.where(purity >= min_purity, median, MIXED)",
        "return median",
        (LABELS, DEGENERATE),
    ),
    Mutation(
        "class frequencies not in the posterior",
        HEAD,
        "functional.class_log_posterior(distances, self.bandwidth, self.class_frequency)",
        "functional.class_log_posterior(distances, self.bandwidth)",
        (HEADS, LABELER),
    ),
    Mutation(
        "class frequencies not counted",
        MAINTENANCE,
        "            head.class_frequency.copy_(frequency)\n",
        "",
        (MODE_HOOKS,),
    ),
    Mutation(
        "pooled heads trade places",
        FUNCTIONAL,
        "torch.lerp(first_log, second_log, second_weight)",
        "torch.lerp(second_log, first_log, second_weight)",
        (FORMULAS, LABELER),
    ),
    Mutation(
        "labels from the segmentation head alone",
        "mmdrsl/pseudo_labels/views.py",
        "            if network.second_weight > 0:\n",
        "            if network.second_weight > 1:\n",
        (LABELER,),
    ),
    Mutation(
        "modes read the backbone's features",
        "mmdrsl/models/feature_maps.py",
        "    return decoder\n\n\n@contextmanager",
        "    return maps[-1]\n\n\n@contextmanager",
        (FEATURES,),
    ),
)
