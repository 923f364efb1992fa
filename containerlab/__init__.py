"""Topologies in containerlab's format and a runner that executes them in plain Linux network namespaces."""
