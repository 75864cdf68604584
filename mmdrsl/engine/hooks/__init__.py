"""Hooks: what changes state between training steps."""

from .atomic_checkpoint_hook import AtomicCheckpointHook
from .domain_accuracy_hook import DomainAccuracyHook
from .mode_maintenance_hook import ModeMaintenanceHook
from .mode_memory_hook import ModeMemoryHook
from .mode_monitor_hook import ModeMonitorHook
from .prediction_drawing_hook import PredictionDrawingHook
from .prediction_statistics_hook import PredictionStatisticsHook
from .run_cost_hook import RunCostHook
from .self_training_hook import SelfTrainingHook
from .shared_buffers_hook import SharedBuffersHook
from .step_seed_hook import StepSeedHook
from .target_normalisation_hook import TargetNormalisationHook
from .teacher_hook import TeacherHook

__all__ = [
    "AtomicCheckpointHook",
    "DomainAccuracyHook",
    "ModeMaintenanceHook",
    "ModeMemoryHook",
    "ModeMonitorHook",
    "PredictionDrawingHook",
    "PredictionStatisticsHook",
    "RunCostHook",
    "SelfTrainingHook",
    "SharedBuffersHook",
    "StepSeedHook",
    "TargetNormalisationHook",
    "TeacherHook",
]
