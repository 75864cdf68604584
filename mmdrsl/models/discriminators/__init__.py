"""Networks that tell the domains apart."""

from .domain_discriminator import DomainDiscriminator
from .frozen import score_frozen

__all__ = ["DomainDiscriminator", "score_frozen"]
