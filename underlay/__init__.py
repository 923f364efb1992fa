"""The face: command line and composition of the rooms. Imports every room, imported by none."""
