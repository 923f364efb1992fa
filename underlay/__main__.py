"""`python -m underlay`: the same as the console script, wherever that is installed."""

from underlay.cli import main

main()
