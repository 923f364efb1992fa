"""What the reflector knows: routes as they came in, the paths to each prefix, and which of them is best. Sans-IO."""
