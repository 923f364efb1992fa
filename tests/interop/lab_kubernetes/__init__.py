"""The dual-ToR lab with everything in it on `--store kubernetes`, and what happens when the API server goes away."""
