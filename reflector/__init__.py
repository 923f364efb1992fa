"""The route reflector: one log of routes, encoded once, with a cursor per client."""
