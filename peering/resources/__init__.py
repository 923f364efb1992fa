"""What an admin declares and what the processes report: one module per family of kinds, pydantic models.

`KINDS` in catalog.py lists them all; manifests.py turns YAML into them.
"""
