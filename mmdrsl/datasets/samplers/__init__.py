"""Samplers for two-domain training."""

from .rare_class_sampling import RareClassDraw, RareClassSampling
from .two_domain_sampler import TwoDomainSampler

__all__ = ["RareClassDraw", "RareClassSampling", "TwoDomainSampler"]
