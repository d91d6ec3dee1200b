# Precision of weights, of neurons' state and of histories: single. The other one is double.pxi.

from libc.math cimport fabsf as abs_of, expf as exp_of, sqrtf as sqrt_of

ctypedef float real

cdef extern from *:    # for C code that is written for both
    """
    #define REAL float
    """
