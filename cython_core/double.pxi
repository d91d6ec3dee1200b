# Precision of weights, of neurons' state and of histories: double. The other one is single.pxi.

from libc.math cimport fabs as abs_of, exp as exp_of, sqrt as sqrt_of

ctypedef double real

cdef extern from *:    # for C code that is written for both
    """
    #define REAL double
    """
