"""A config for a pair of domains of one's own, from a look at its files."""
