"""Samplers for two-domain training."""

from .rare_classes import RareClassDraw
from .two_domain_sampler import RareClassOptions, TwoDomainSampler

__all__ = ["RareClassDraw", "RareClassOptions", "TwoDomainSampler"]
