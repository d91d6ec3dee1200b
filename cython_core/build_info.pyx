"""How the kernels of this installation were compiled."""

cdef extern from *:
    const char* PAREPROP_MODE
    const char* PAREPROP_FLAGS

#: "native", "portable" or "checked"
mode = PAREPROP_MODE.decode()
#: compiler flags beyond Python's own
flags = PAREPROP_FLAGS.decode()
