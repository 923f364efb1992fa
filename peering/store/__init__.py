"""Where resources are kept: one small protocol, and the engines that implement it."""
