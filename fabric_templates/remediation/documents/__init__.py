"""Platforms whose configuration is a document, JSON, YAML or TOML: what it is to become, and how to say that."""
