"""Comparing methods over networks and seeds: what `tools/run_benchmark.py` is made of."""
