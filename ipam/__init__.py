"""Blocks and addresses: claimed by compare-and-swap through the store, never given twice."""
