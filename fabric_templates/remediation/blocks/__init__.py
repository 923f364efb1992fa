"""Daemons that are configured by a file as a whole: the file as it is, with our statements as they should be."""
