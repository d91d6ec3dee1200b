# Precision of the classes that are included next: single. The other one is double.pxi.

ctypedef float real

cdef extern from *:    # for C code that is written for both
    """
    #define REAL float
    """
