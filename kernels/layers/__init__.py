"""Kernels of layers, one file a kind."""
