"""How kernels are compiled, kept on disk, and given memory; numba is imported here and in `emitted`."""
