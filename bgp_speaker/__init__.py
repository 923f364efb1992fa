"""The node agent: drives ExaBGP, announces the node's blocks, and writes learned routes into the kernel."""
