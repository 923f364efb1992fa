"""Platforms whose configuration is lines of words that lead from the root: `set` says one, `delete` takes it away."""
