"""Platforms whose configuration is menus of items with properties: what to remove, to set and to add."""
