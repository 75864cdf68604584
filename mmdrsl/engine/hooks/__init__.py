"""Hooks: what changes state between training steps."""

from .adabn_hook import AdaBNHook
from .after_step_hook import AfterStepHook
from .atomic_checkpoint_hook import AtomicCheckpointHook
from .class_names_hook import ClassNamesHook
from .finite_values_hook import FiniteValuesHook
from .gradient_norm_hook import GradientNormHook
from .mean_teacher_hook import MeanTeacherHook
from .prediction_drawing_hook import PredictionDrawingHook
from .preflight_hook import PreflightHook
from .readable_log_hook import ReadableLogHook
from .run_cost_hook import RunCostHook
from .run_report_hook import RunReportHook
from .self_training_hook import SelfTrainingHook
from .shared_buffers_hook import SharedBuffersHook
from .step_seed_hook import StepSeedHook
from .test_time_bn_hook import TestTimeBNHook

__all__ = [
    "AdaBNHook",
    "AfterStepHook",
    "AtomicCheckpointHook",
    "ClassNamesHook",
    "FiniteValuesHook",
    "GradientNormHook",
    "MeanTeacherHook",
    "PredictionDrawingHook",
    "PreflightHook",
    "ReadableLogHook",
    "RunCostHook",
    "RunReportHook",
    "SelfTrainingHook",
    "SharedBuffersHook",
    "StepSeedHook",
    "TestTimeBNHook",
]
