"""How the kernels of this installation were compiled."""

cdef extern from *:
    const char* PAREPROP_MODE
    const char* PAREPROP_FLAGS
    const char* PAREPROP_INSTRUCTIONS
    const char* PAREPROP_COMPILER

#: "native", "portable" or "checked"
mode = PAREPROP_MODE.decode()
#: compiler flags beyond Python's own
flags = PAREPROP_FLAGS.decode()
#: instruction sets that the kernels use, as Linux names them in /proc/cpuinfo; this module uses none of them
instructions = PAREPROP_INSTRUCTIONS.decode().split()
#: the compiler, with Python's own flags
compiler = PAREPROP_COMPILER.decode()
