"""Benchmarks: scripts that measure the product, each beside its peer or its limit."""
