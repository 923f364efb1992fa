"""Fuzz targets: plain functions of bytes that raise when something is wrong. A fuzzer or a property test runs them."""
