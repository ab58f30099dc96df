"""Kernels that are written in LLVM's vector instructions."""
