# Precision of the classes that are included next: double. The other one is single.pxi.

ctypedef double real

cdef extern from *:    # for C code that is written for both
    """
    #define REAL double
    #define IN_DOUBLE 1
    """
