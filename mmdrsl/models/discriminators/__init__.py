"""Networks that tell the domains apart."""

from .domain_accuracy_gate import DomainAccuracyGate
from .domain_discriminator import DomainDiscriminator
from .frozen import score_frozen

__all__ = ["DomainAccuracyGate", "DomainDiscriminator", "score_frozen"]
