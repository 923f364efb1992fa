"""What becomes of routes on their way in and out: loops, filters, who owns a prefix, what peers are told. Sans-IO."""
