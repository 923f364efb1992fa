"""Blocks that policy makes of those that came. Equal attributes are the same block while anybody uses it.

That is what the codec's cache does for blocks as they come. So a route that is judged a second time, by other rules or
after its block was forgotten, changes only when its attributes do.
"""

from __future__ import annotations

from weakref import WeakValueDictionary

from reflector.wire.attribute_block import AttributeBlock, Changes

_MADE: WeakValueDictionary[bytes, AttributeBlock] = WeakValueDictionary()


def rewritten(block: AttributeBlock, changes: Changes) -> AttributeBlock:
    """The block with these changes; the block itself when there are none."""
    if not changes:
        return block
    made = block.rewritten(**changes)
    return _MADE.setdefault(made.raw, made)
