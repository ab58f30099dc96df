"""How far fastnn's functions are from the exact result, in units in the last place.

:mod:`double_double` computes with twice float64's digits, :mod:`functions` has the elementary functions
in that arithmetic, :mod:`formulas` what every kernel ought to compute, :mod:`inputs` where it is
measured, :mod:`units` the error of a result, :mod:`elementwise` and :mod:`rows` the largest error of a
kernel, :mod:`limits` the largest that is allowed. The tests measure a sample of inputs;
``make accuracy`` measures every float32, and writes the table in ``docs/accuracy.md``.
"""
