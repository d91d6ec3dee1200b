"""How the kernels of this installation were compiled."""

cdef extern from *:
    const char* PAREPROP_MODE
    const char* PAREPROP_FLAGS
    const char* PAREPROP_INSTRUCTIONS
    const char* PAREPROP_COMPILER
    const char* PAREPROP_SOURCES

#: "native", "portable" or "checked"
mode = PAREPROP_MODE.decode()
#: compiler flags beyond Python's own
flags = PAREPROP_FLAGS.decode()
#: instruction sets that the kernels use, as Linux names them in /proc/cpuinfo; this module uses none of them
instructions = PAREPROP_INSTRUCTIONS.decode().split()
#: the compiler, with Python's own flags
compiler = PAREPROP_COMPILER.decode()
#: digest of the sources of all kernels, the same whatever compiler, flags and processor they were compiled for
sources = PAREPROP_SOURCES.decode()
