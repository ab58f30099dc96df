"""fastnn's compiled kernels: pure functions on arrays.

The contract, for every public function of every module here:

- inputs first, preallocated outputs last; nothing is allocated, nothing raised for data;
- arrays are C-contiguous and of one dtype, float32 or float64; the caller has checked shapes;
- inputs are never written to, outputs never read before they are written;
- NaN and infinity propagate.

Shape legend: ``n`` batch, ``d`` inputs, ``k`` outputs or classes.
"""
