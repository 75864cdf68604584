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
STEP_FILE = "mmdrsl/models/adaptation_step.py"
ADAPTOR = "mmdrsl/models/segmentors/uda_segmentor.py"
COMPLETED = "mmdrsl/models/segmentors/completion.py"

FORMULAS = "tests/methods/drsl/test_functional.py"
LOSSES = "tests/methods/drsl/test_mode_losses.py"
DEGENERATE = "tests/methods/drsl/test_degenerate_cases.py"
TWO_RANKS = "tests/methods/drsl/test_two_ranks.py"
HEADS = "tests/methods/drsl/test_mmdl_head.py"
MODE_HOOKS = "tests/methods/drsl/test_mode_hooks.py"
TERMS = "tests/methods/test_adaptation_term.py"
METHODS = "tests/methods/test_method_steps.py"
GATE = "tests/methods/test_cycada_features.py"
MIX = "tests/methods/test_dacs.py"
DISTANCE = "tests/methods/test_daformer.py"
TWO_SIZES = "tests/models/test_hrda_segmentor.py"
VIT = "tests/models/test_plain_vit.py"
ADAPTERS = "tests/models/test_adapters.py"
MRKLD = "tests/methods/test_crst.py"
STEP = "tests/models/test_uda_segmentor.py"
COMPLETION = "tests/models/test_completion.py"
FEATURES = "tests/models/test_feature_maps.py"
LABELS = "tests/models/test_label_maps.py"
AGREEMENT = "tests/models/losses/test_classifier_agreement.py"
CROSS_ENTROPY = "tests/models/losses/test_segmentation_losses.py"
LABELER = "tests/pseudo_labels/test_labeler.py"


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
        "return combine(values.sum()) / num_values.clamp(min=1)",
        "return -combine(values.sum()) / num_values.clamp(min=1)",
        (FORMULAS, LOSSES),
    ),
    Mutation(
        "sign of the alignment flipped (term)",
        ALIGNMENT,
        'return {"loss_alignment": weight * self.loss',
        'return {"loss_alignment": -weight * self.loss',
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
        "mmdrsl/methods/crst.py",
        ".mean(dim=1) * (labels != ignore_index)",
        ".mean(dim=1)",
        (MRKLD, STEP),
    ),
    Mutation(
        "re-seeding skipped",
        MAINTENANCE,
        "head.representatives[mask] = representatives[mask].to(head.representatives)",
        "pass",
        (MODE_HOOKS,),
    ),
    Mutation(
        "optimizer state kept after re-seeding",
        MAINTENANCE,
        "                value[mask] = 0\n",
        "                pass\n",
        (MODE_HOOKS, DEGENERATE),
    ),
    Mutation(
        "re-seeded modes not broadcast",
        MAINTENANCE,
        "        broadcast(representatives)\n",
        "",
        (TWO_RANKS,),
    ),
    Mutation(
        "all modes count as dead",
        MAINTENANCE,
        "dead = (usage < usage_floor / num_modes)",
        "dead = (usage >= 0)",
        (MODE_HOOKS, DEGENERATE),
    ),
    Mutation(
        "k-means on too few pixels",
        MAINTENANCE,
        "if len(own) < num_modes * SAMPLES_PER_MODE:",
        "if len(own) < num_modes:",
        (MODE_HOOKS, DEGENERATE),
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
    Mutation(
        "representatives not on the sphere",
        HEAD,
        "return functional.normalize(self.representatives)",
        "return 2 * self.representatives",
        (HEADS, STEP),
    ),
    Mutation(
        "alignment not ramped",
        ALIGNMENT,
        "self.weight * ramp(adaptation_iteration, self.ramp_iterations)",
        "self.weight",
        (STEP,),
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
        "mmdrsl/models/losses/classifier_agreement.py",
        "first_log.lerp(second_log, second_weight)",
        "second_log.lerp(first_log, second_weight)",
        (AGREEMENT, LABELER),
    ),
    Mutation(
        "labels from the segmentation head alone",
        "mmdrsl/pseudo_labels/views.py",
        "return pool_probabilities(main[0], second[0], network.second_weight)",
        "return main[0]",
        (LABELER,),
    ),
    Mutation(
        "class weights are left in the teacher's labels",
        "mmdrsl/models/class_weights.py",
        "undone = probabilities / weights[:, None, None]",
        "undone = probabilities",
        ("tests/models/test_teacher_prediction.py", LABELER),
    ),
    Mutation(
        "mirrored views are not mirrored back",
        "mmdrsl/models/view_average.py",
        "predict(view.flip(3)).flip(3)",
        "predict(view.flip(3))",
        ("tests/models/test_teacher_prediction.py", LABELER),
    ),
    Mutation(
        "terms in the order of the config",
        "mmdrsl/models/segmentors/uda_segmentor.py",
        "sorted(self.terms.items(), key=_needs_mixed_images)",
        "self.terms.items()",
        ("tests/methods/drsl/test_mixed_images.py",),
    ),
    Mutation(
        "modes read the backbone's features",
        "mmdrsl/models/feature_maps.py",
        "    return decoder\n\n\n@contextmanager",
        "    return maps[-1]\n\n\n@contextmanager",
        (FEATURES,),
    ),
    Mutation(
        "divisor of this rank alone",
        RANKS,
        '    all_reduce(divisor, op="mean")\n',
        "",
        (TWO_RANKS,),
    ),
    Mutation(
        "gate opens on every rank for itself",
        "mmdrsl/methods/cycada_features.py",
        '        all_reduce(accuracy, op="mean")\n',
        "",
        (TWO_RANKS,),
    ),
    Mutation(
        "terms run where a domain lacks",
        ADAPTOR,
        "if not term.domains <= batches.keys():",
        "if not term.domains & batches.keys():",
        (TERMS,),
    ),
    Mutation(
        "teacher predicts for every term anew",
        STEP_FILE,
        "if self._teacher_probabilities is None:",
        "if True:",
        (TERMS,),
    ),
    Mutation(
        "state that no hook keeps is accepted",
        ADAPTOR,
        "if kept and not self.calls_after_step:",
        "if False:",
        (TERMS, GATE),
    ),
    Mutation(
        "terms get the values of others",
        "mmdrsl/engine/hooks/after_step_hook.py",
        'if key.startswith(f"{name}.")',
        'if key.startswith("")',
        (TERMS,),
    ),
    Mutation(
        "discriminator learns to be fooled",
        "mmdrsl/models/discriminators/frozen.py",
        "{name: value.detach() for name",
        "{name: value for name",
        (METHODS,),
    ),
    Mutation(
        "disagreement the wrong way round",
        "mmdrsl/methods/seg_uncertainty.py",
        "(log_q.exp() * (log_q - log_p))",
        "(log_p.exp() * (log_p - log_q))",
        (METHODS,),
    ),
    Mutation(
        "pasted source pixels weighted as the teacher's",
        "mmdrsl/methods/dacs.py",
        "weight=paste(mask, torch.ones_like(pixel_weights), pixel_weights)",
        "weight=pixel_weights",
        (MIX,),
    ),
    Mutation(
        "class weights out of the loss",
        "mmdrsl/models/losses/cross_entropy.py",
        "logits.float(), labels, weight=class_weight,",
        "logits.float(), labels, weight=None,",
        (CROSS_ENTROPY,),
    ),
    Mutation(
        "random stream moved by the look at the network",
        COMPLETED,
        "    with torch.random.fork_rng(devices=[]):\n        parts = ",
        "    with torch.no_grad():\n        parts = ",
        (COMPLETION,),
    ),
    Mutation(
        "wrong numbers of a config accepted",
        COMPLETED,
        "if given != wanted:",
        "if False:",
        (COMPLETION,),
    ),
    Mutation(
        "labels shifted by half a cell",
        "mmdrsl/models/label_maps.py",
        'mode="nearest-exact"',
        'mode="nearest"',
        (LABELS, STEP),
    ),
    Mutation(
        "cells of things are those that show all of them",
        "mmdrsl/methods/daformer.py",
        ">= min_share).any(dim=1)",
        ">= min_share).all(dim=1)",
        (DISTANCE,),
    ),
    Mutation(
        "maps without the last norm",
        "mmdrsl/models/backbones/plain_vit.py",
        "                norm=True,",
        "                norm=False,",
        (VIT,),
    ),
    Mutation(
        "keys and values exchanged",
        "mmdrsl/models/backbones/vit_weights.py",
        'for part in "qkv"]',
        'for part in "qvk"]',
        (VIT,),
    ),
    Mutation(
        "patches of another size resampled",
        "mmdrsl/models/backbones/vit_weights.py",
        "    _check_patch_size(found, vit)\n",
        "",
        (VIT,),
    ),
    Mutation(
        "the largest components trained",
        "mmdrsl/models/backbones/adapters.py",
        "entry[0].down.copy_(root[:, None] * right[-rank:])",
        "entry[0].down.copy_(root[:, None] * right[:rank])",
        (ADAPTERS,),
    ),
    Mutation(
        "first token of Rein counts",
        "mmdrsl/models/backbones/adapters.py",
        "similarity[..., 1:] @ self.of_tokens(tokens[1:])",
        "similarity @ self.of_tokens(tokens)",
        (ADAPTERS,),
    ),
    Mutation(
        "exports keep the frozen weights alone",
        "mmdrsl/models/backbones/adapters.py",
        'result[f"{layer}.weight"] + up @ down',
        'result[f"{layer}.weight"]',
        (ADAPTERS,),
    ),
    Mutation(
        "rates fall towards the decoder",
        "mmdrsl/engine/optimizers/layer_decay.py",
        "decay ** (last - layer)",
        "decay**layer",
        ("tests/engine/test_layer_decay.py",),
    ),
    Mutation(
        "attention outside of the window",
        "mmdrsl/models/decode_heads/hrda_head.py",
        "attention = attention * mask",
        "attention = attention * 1",
        (TWO_SIZES,),
    ),
    Mutation(
        "loss of the detail counted in full",
        "mmdrsl/models/detail_maps.py",
        "= share * value",
        "= value",
        (TWO_SIZES,),
    ),
    Mutation(
        "teacher trusted at the border",
        "mmdrsl/models/label_maps.py",
        "(place >= rows[0]) & (place < height - rows[1])",
        "(place >= 0) & (place < height - rows[1])",
        (DISTANCE,),
    ),
)
