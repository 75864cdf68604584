"""DRSL: every class is modeled by several modes, and pixels of one mode are pulled together across the domains.

Paper: Iqbal et al., "Distribution Regularized Self-Supervised Learning for Domain Adaptation of Semantic Segmentation"
(2022, arXiv 2206.09683). It gives no equations; the formulas are this project's own, see docs/method.md. Pseudo labels
come in rounds from both heads (`ClassBalancedPolicy` with ``second_head``).
"""

from .drsl_head import DRSLHead
from .mmdl_head import MMDLHead
from .mode_alignment import ModeAlignmentTerm, StochasticModeAlignmentLoss
from .mode_maintenance_hook import ModeMaintenanceHook
from .mode_metric import ModeMetricLoss, ModeMetricTerm
from .mode_monitor_hook import ModeMonitorHook

__all__ = [
    "DRSLHead",
    "MMDLHead",
    "ModeAlignmentTerm",
    "ModeMaintenanceHook",
    "ModeMetricLoss",
    "ModeMetricTerm",
    "ModeMonitorHook",
    "StochasticModeAlignmentLoss",
]
