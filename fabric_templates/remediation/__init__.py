"""What to say to a switch that runs something else than the plan, limited to what is ours on it."""
