"""The adaptor: any MMSegmentation segmentor, a two-domain batch, named loss terms."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseAveragedModel, PretrainedInit
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.models.segmentors.encoder_decoder import EncoderDecoder
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmdrsl.checkpoint_weights import SEGMENTOR_PREFIX, TEACHER_PREFIX
from mmdrsl.datasets.label_spaces import get_label_space
from mmdrsl.models.adaptation_step import AdaptationProgress, AdaptationStep, DomainBatch
from mmdrsl.models.backbones.remote_weights import fetch_weights, is_remote
from mmdrsl.models.backbones.weight_conversion import check_backbone_file
from mmdrsl.models.batch_norm import domain_pass, frozen_statistics, has_batch_norm
from mmdrsl.models.feature_maps import Decoded, FeatureMaps, decode
from mmdrsl.models.segmentors.completion import (
    complete_discriminator,
    complete_further_head,
    complete_segmentor,
)
from mmdrsl.models.segmentors.support import check_kind, check_scores
from mmdrsl.models.teacher_prediction import TeacherPrediction
from mmdrsl.renamed import renamed_arguments

BN_MODES = ("joint", "separate", "domain_specific", "frozen")
MEMORY_FORMATS = {
    "contiguous": torch.contiguous_format,
    "channels_last": torch.channels_last,
}
# Of MMSegmentation's decode heads; they view their maps in another shape, which other layouts do not allow.
_CONTIGUOUS_PARTS = ("DCM",)


def _needs_mixed_images(entry: tuple[str, Any]) -> bool:
    """Sort key: terms that read what others make come last."""
    return bool(entry[1].needs_mixed_images)


def _build_aside(cfg: dict) -> nn.Module:
    """A module that a method adds to a segmentor.

    It draws its first weights aside: every method starts from the same segmentor, and every module from the same
    weights, whatever is beside it.
    """
    with torch.random.fork_rng(devices=[]):
        module = MODELS.build(cfg)
        # Only here: the segmentor's own heads are initialized by the Runner, in the main stream.
        if isinstance(module, BaseDecodeHead) or getattr(module, "init_cfg", None) is not None:
            module.init_weights()
    return module


@MODELS.register_module()
@renamed_arguments(normalisation="bn_mode")
class UDASegmentor(BaseSegmentor):
    """Adapts a segmentor to a second domain; knows no method.

    Call chain of a step: ``loss()`` runs backbone, neck and decode head on the batch (source images first), slices the
    results by domain into an `AdaptationStep`, and collects the values of every term under the name
    ``<term>.<value>``; each term draws its random numbers as if it were alone. Prediction is the wrapped segmentor's
    alone, and a checkpoint of the wrapped segmentor loads directly.

    `MeanTeacherHook` may add ``teacher``, an averaged copy of segmentor and heads that is saved with the model.
    Training never changes it inside a step, and a model without one reads a checkpoint that has one.

    What the configs of the parts leave out is filled in: ``num_classes`` from the label space, ``in_channels`` of heads
    from a look at backbone and neck, a discriminator's input, class weights. What they say is checked.

    Args:
        segmentor: Config of an ``EncoderDecoder`` or of a subclass, cascades included; docs/models.md has those of
            MMSegmentation.
        label_space: The classes that the model predicts, a key of `LABEL_SPACES` or a mapping, see `get_label_space`;
            None takes the number of classes that the segmentor's decode head has.
        crop_size: (height, width) of the training images, with which backbone and neck are looked at; None takes 256 x
            256, which networks of a fixed size may refuse.
        class_weight: Weight per class of the cross entropy of every classifier whose own config has none.
        bn_mode: ``joint`` runs both domains in one pass, so that batch statistics cover them together;
            ``separate`` runs one pass for each, normalized by its own statistics, all of which go into the running
            ones, as DACS and its successors do; target images that no term reads are not run; ``domain_specific``
            runs one pass for each, normalized by its own statistics, of which the target's go into the running ones
            that prediction uses (after DSBN, Chang et al. 2019), the source's where a batch has no target image;
            ``frozen`` runs one pass which in the rounds is normalized by the running statistics that the warm-up
            left, so that the target's mixture of classes does not shift the features on which the source was learned
            (a head that the warm-up does not train has none yet: no normalization there).
        memory_format: ``contiguous``, or ``channels_last``, which convolutions compute faster on many devices, with
            results that differ in rounding.
        terms: Configs of `AdaptationTerm` modules by name.
        heads: Configs of further heads on the features by name, read by terms.
        discriminators: Configs of domain discriminators by name, such as `DomainDiscriminator`, trained by adversarial
            terms in the same backward pass and by the same optimizer as everything else, see
            `discriminators.score_frozen`. Rates, decay and Adam's betas of their own are ``custom_keys`` of
            ``paramwise_cfg`` under ``discriminators``. They are in training checkpoints, not in the teacher and not in
            exports. A batch without target images leaves them without gradients, so that distributed runs need
            ``find_unused_parameters=True``.
        heads_shape_warmup: Whether losses on further heads reach the backbone in the warm-up. False lets the heads
            learn beside it: the segmentor's warm-up is then, bit for bit, that of source-only training with the same
            seed, and whatever follows is compared from one starting point.
        data_preprocessor: Config of `UDADataPreprocessor`.
        init_cfg: MMEngine weight initialization.

    Raises:
        TypeError: The segmentor, or a decode head of it, is of a kind that cannot be adapted.
        ValueError: A decode head has another number of outputs than classes, ``bn_mode`` or ``memory_format`` is not
            known, a part has another number of classes or channels, or a term's name contains "loss".
    """

    segmentor: EncoderDecoder
    heads: nn.ModuleDict
    discriminators: nn.ModuleDict
    terms: nn.ModuleDict
    progress: AdaptationProgress
    phases: tuple
    teacher: BaseAveragedModel | None
    predict_with_teacher: bool
    teacher_prediction: TeacherPrediction
    teacher_begin: int
    calls_after_step: bool
    pictures: dict[str, Tensor] | None

    def __init__(
        self,
        *,
        segmentor: dict,
        label_space: str | dict | None = None,
        crop_size: Sequence[int] | None = None,
        class_weight: Sequence[float] | None = None,
        terms: dict[str, dict] | None = None,
        heads: dict[str, dict] | None = None,
        discriminators: dict[str, dict] | None = None,
        heads_shape_warmup: bool = True,
        bn_mode: str = "joint",
        memory_format: str = "contiguous",
        data_preprocessor: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        if bn_mode not in BN_MODES:
            raise ValueError(f"model.bn_mode must be one of {list(BN_MODES)}, found {bn_mode!r}.")
        if memory_format not in MEMORY_FORMATS:
            raise ValueError(
                f"model.memory_format must be one of {list(MEMORY_FORMATS)}, found {memory_format!r}."
            )
        self.bn_mode = bn_mode
        check_kind(segmentor)
        self.classes = None if label_space is None else get_label_space(label_space).classes
        cfg, channels = complete_segmentor(
            segmentor,
            num_classes=None if self.classes is None else len(self.classes),
            class_weight=class_weight,
            crop_size=crop_size,
        )
        self.segmentor = MODELS.build(cfg)
        check_scores(self.segmentor)
        if bn_mode != "joint" and not has_batch_norm(self.segmentor):
            print_log(
                f"model.bn_mode={bn_mode!r} changes nothing of the segmentor: {type(self.segmentor.backbone).__name__} "
                "and its heads have no batch normalization.",
                logger="current",
                level=logging.WARNING,
            )
        self.heads_shape_warmup = heads_shape_warmup

        self.heads = nn.ModuleDict()
        for name, entry in (heads or {}).items():
            head = complete_further_head(
                entry, segmentor=self.segmentor, channels=channels, class_weight=class_weight
            )
            self.heads[name] = _build_aside(head)
        self.discriminators = nn.ModuleDict()
        for name, entry in (discriminators or {}).items():
            discriminator = complete_discriminator(entry, num_classes=self.num_classes)
            self.discriminators[name] = _build_aside(discriminator)
        for name in terms or {}:
            if "loss" in name:
                raise ValueError(
                    f"model.terms.{name}: MMEngine would optimize every value of a term whose name contains 'loss', "
                    "diagnostics too; give it another name."
                )
        self.terms = nn.ModuleDict({name: MODELS.build(cfg) for name, cfg in (terms or {}).items()})
        self._begin_terms()
        if memory_format != "contiguous":
            self._use_memory_format(MEMORY_FORMATS[memory_format])
        self.progress = AdaptationProgress()
        self.phases = ()
        self.register_module("teacher", None)
        self.predict_with_teacher = False
        self.teacher_prediction = TeacherPrediction()
        self.teacher_begin = 0
        self.calls_after_step = False
        self.pictures = None

    def _begin_terms(self) -> None:
        """Let every term take up what it needs of the segmentor's first weights."""
        term: Any
        for term in self.terms.values():
            term.begin_with(self.segmentor, self.classes)

    def _use_memory_format(self, memory_format: torch.memory_format) -> None:
        """Lay out weights so, and images where they enter a backbone: the teacher's copy does it, too."""
        self.to(memory_format=memory_format)

        def lay_out(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (inputs[0].contiguous(memory_format=memory_format), *inputs[1:])

        self.segmentor.backbone.register_forward_pre_hook(lay_out)
        for part in self.segmentor.modules():
            if type(part).__name__ in _CONTIGUOUS_PARTS:
                part.to(memory_format=torch.contiguous_format)
                part.register_forward_pre_hook(
                    lambda _, inputs: (inputs[0].contiguous(), *inputs[1:])
                )

    def init_weights(self) -> None:
        """Initialize the weights; refuse a backbone's weights that do not fit, where MMEngine would only warn.

        Raises:
            FileNotFoundError: The file of a backbone's ``init_cfg`` does not exist, or cannot be downloaded.
            ValueError: It does not fit.
        """
        # Some backbones are made around one that has weights of its own.
        for module in self.segmentor.backbone.modules():
            init_cfg = getattr(module, "init_cfg", None)
            for entry in init_cfg if isinstance(init_cfg, list) else [init_cfg]:
                if entry and entry["type"] in ("Pretrained", PretrainedInit):
                    self._check_weights(entry, module)
        super().init_weights()
        self._begin_terms()

    @staticmethod
    def _check_weights(entry: dict, module: nn.Module) -> None:
        """Check weights that a module starts from; those of a URL become a file, which MMEngine then reads."""
        checkpoint = entry["checkpoint"]
        if is_remote(checkpoint):
            file = fetch_weights(checkpoint, wanted_by=type(module).__name__)
            entry["checkpoint"] = str(file)
            if checkpoint.startswith("mmcls://"):
                # These are of a classifier.
                entry["prefix"] = "backbone."
        if not getattr(module, "reads_its_file", False):
            check_backbone_file(entry["checkpoint"], module, prefix=entry.get("prefix") or "")

    def add_teacher(self, average: dict) -> None:
        """Add an averaged copy of segmentor and heads; `MeanTeacherHook` keeps it up to date.

        Args:
            average: Config of one of MMEngine's averaged models, such as ``ExponentialMovingAverage``.
        """
        self.teacher = MODELS.build(average, default_args=dict(model=self.networks()))
        self.teacher.eval()

    def networks(self, *, of_teacher: bool = False) -> nn.ModuleDict:
        """Segmentor and heads, of the student or of the teacher.

        Args:
            of_teacher: Take those of the teacher. Before its first update the teacher is the student.

        Returns:
            Modules ``segmentor`` and ``heads``.

        Raises:
            ValueError: The model has no teacher.
        """
        if not of_teacher:
            return nn.ModuleDict(dict(segmentor=self.segmentor, heads=self.heads))
        if self.teacher is None:
            raise ValueError(
                "The model has no teacher; add default_hooks=dict(teacher=dict(type='MeanTeacherHook'))."
            )
        return self.teacher.module if self.teacher.steps > 0 else self.networks()

    def train(self, mode: bool = True) -> UDASegmentor:
        """Set training or evaluation mode; a teacher always evaluates."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    @property
    def align_corners(self) -> bool:
        """Whether logits are resized with aligned corners."""
        return self.segmentor.align_corners

    @property
    def num_classes(self) -> int:
        """Number of classes of the wrapped segmentor."""
        return self.segmentor.num_classes

    @property
    def out_channels(self) -> int:
        """Number of output channels of the wrapped segmentor."""
        return self.segmentor.out_channels

    @property
    def decode_head(self) -> nn.Module:
        """Decode head of the wrapped segmentor."""
        return self.segmentor.decode_head

    def extract_feat(self, inputs: Tensor) -> Any:
        """Feature maps of backbone and neck.

        Args:
            inputs: Normalized images, shape (B, 3, H, W).

        Returns:
            What the segmentor's own returns: mostly one tensor per stage, each (B, ...).
        """
        return self.segmentor.extract_feat(inputs)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits at input size, shape (B, C, H, W)."""
        return self.segmentor.encode_decode(inputs, batch_img_metas)

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Values of all terms for one two-domain batch.

        Args:
            inputs: Normalized images, source images first, shape (B, 3, H, W).
            data_samples: One sample per image whose metainfo has ``domain``.

        Returns:
            ``<term>.<value>``; keys with a last part that begins with ``loss_`` are optimized.

        Raises:
            ValueError: The batch is not ordered, no term had anything to do, or nobody keeps the state of one.
        """
        self._check_state_is_kept()
        domains = [sample.metainfo.get("domain", "source") for sample in data_samples]
        if domains != sorted(domains):
            raise ValueError(
                "Source images must come before target images in a batch; use UDADataPreprocessor as "
                "model.data_preprocessor."
            )
        num_source = domains.count("source")
        parts = {"source": slice(None, num_source), "target": slice(num_source, None)}
        parts = {name: part for name, part in parts.items() if domains[part]}
        frozen = self.bn_mode == "frozen" and self.progress.round > 0
        with frozen_statistics(self) if frozen else nullcontext():
            features, batches = self._run_domains(inputs, data_samples, parts)
            step = AdaptationStep(
                segmentor=self.segmentor,
                heads=self.heads,
                discriminators=self.discriminators,
                bn_mode=self.bn_mode,
                teacher_prediction=self.teacher_prediction,
                mean=getattr(self.data_preprocessor, "mean", None),
                std=getattr(self.data_preprocessor, "std", None),
                features=features,
                domains=batches,
                progress=self.progress,
                pictures=self.pictures,
                detach_heads=not self.heads_shape_warmup and self.progress.round == 0,
            )
            teacher = (
                None if self.teacher is None or self.teacher.steps == 0 else self.teacher.module
            )
            values = {}
            term: Any
            # Every term draws as if it were alone: what a head learns does not depend on the heads beside it.
            devices = [inputs.device] if inputs.is_cuda else []
            # A config that was written and read again has its terms in another order.
            for name, term in sorted(self.terms.items(), key=_needs_mixed_images):
                if not term.domains <= batches.keys():
                    continue
                # A missing declaration then shows in every combination of terms.
                step.teacher = teacher if term.needs_teacher else None
                step.shows_mixed = term.needs_mixed_images
                with torch.random.fork_rng(devices=devices):
                    values.update({f"{name}.{key}": value for key, value in term(step).items()})
            # Their draws are not to come again in the next step, where no StepSeedHook seeds it.
            torch.manual_seed(int(torch.randint(2**62, ())))
        if not any("loss" in key for key in values):
            raise ValueError(
                f"No term of {sorted(self.terms)} has anything to do with a batch of domains {sorted(set(domains))}. "
                "Check model.terms and the share of target images."
            )
        return values

    def _check_state_is_kept(self) -> None:
        """Refuse terms whose state nobody would change."""
        kept = [name for name, term in self.terms.items() if term.changes_after_step]
        if kept and not self.calls_after_step:
            raise ValueError(
                f"The terms {kept} change between steps and no hook calls them: add "
                "default_hooks=dict(after_step=dict(type='AfterStepHook'))."
            )

    def _run_domains(
        self, inputs: Tensor, data_samples: list, parts: dict[str, slice]
    ) -> tuple[FeatureMaps | None, dict[str, DomainBatch]]:
        """Feature maps of the joint pass (None where each domain had its own), and each domain's share."""
        if self.bn_mode in ("joint", "frozen"):
            decoded = decode(self.segmentor, self.extract_feat(inputs))
            return decoded.maps, {
                name: DomainBatch(data_samples[part], inputs[part], decoded.part(part))
                for name, part in parts.items()
            }
        batches = {
            name: DomainBatch(
                data_samples[part], inputs[part], partial(self._run_domain, name, parts)
            )
            for name, part in parts.items()
        }
        for name, batch in batches.items():
            # Where the running statistics are the target's, its pass is needed for them.
            if name == "source" or self.bn_mode == "domain_specific":
                batch.run()
        return None, batches

    def _run_domain(self, name: str, parts: dict[str, slice], inputs: Tensor) -> Decoded:
        """Outputs and feature maps of one domain's own pass."""
        with domain_pass(self, self.bn_mode, name, parts):
            return decode(self.segmentor, self.extract_feat(inputs))

    def predict(self, inputs: Tensor, data_samples: list | None = None) -> list:
        """Prediction of the wrapped segmentor (or of its teacher) as data samples."""
        segmentor: Any = self.networks(of_teacher=self.predict_with_teacher)["segmentor"]
        return segmentor.predict(inputs, data_samples)

    def _forward(self, inputs: Tensor, data_samples: list | None = None) -> Tensor:
        return self.segmentor._forward(inputs, data_samples)

    def _load_from_state_dict(
        self, state_dict: OrderedDict, prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Accept a plain checkpoint, whose keys lack the ``segmentor.`` prefix, and pass over another's teacher."""
        if self.teacher is None:
            for key in [key for key in state_dict if key.startswith(prefix + TEACHER_PREFIX)]:
                del state_dict[key]
        own = [key for key in state_dict if key.startswith(prefix)]
        if own and not any(key.startswith(prefix + SEGMENTOR_PREFIX) for key in own):
            for key in own:
                state_dict[prefix + SEGMENTOR_PREFIX + key[len(prefix) :]] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
