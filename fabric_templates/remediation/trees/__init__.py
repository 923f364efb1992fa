"""Platforms whose configuration is one JSON or YAML tree: what to set and to unset in it."""
