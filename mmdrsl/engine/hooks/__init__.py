"""Hooks: what changes state between training steps."""

from .atomic_checkpoint_hook import AtomicCheckpointHook
from .mode_maintenance_hook import ModeMaintenanceHook
from .self_training_hook import SelfTrainingHook
from .step_seed_hook import StepSeedHook
from .target_normalisation_hook import TargetNormalisationHook
from .teacher_hook import TeacherHook

__all__ = [
    "AtomicCheckpointHook",
    "ModeMaintenanceHook",
    "SelfTrainingHook",
    "StepSeedHook",
    "TargetNormalisationHook",
    "TeacherHook",
]
