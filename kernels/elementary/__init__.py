"""Elementary functions of one number, for kernels to call: exp, log, tanh and their relatives."""
