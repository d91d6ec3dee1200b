"""How the kernels of this installation were compiled."""

cdef extern from "built_for.h":
    const char* PAREPROP_MODE
    const char* PAREPROP_FLAGS
    const char* PAREPROP_LEVELS
    const char* PAREPROP_MARCHES
    const char* PAREPROP_INSTRUCTIONS
    const char* PAREPROP_COMPILER
    const char* PAREPROP_SOURCES

#: "native", "portable" or the levels that were asked for; "checked-" before it with bounds checks
mode = PAREPROP_MODE.decode()
#: compiler flags of all kernels beyond Python's own
flags = PAREPROP_FLAGS.decode()
#: compiler flags of each level of this architecture, lowest first, installed or not
marches = dict(line.split("|") for line in PAREPROP_MARCHES.decode().split("\n"))
#: by level that is installed, lowest first: its own flags, and the instruction sets of its kernels, as in /proc/cpuinfo
levels = {
    name: (march, sets.split())
    for name, march, sets in (line.split("|") for line in PAREPROP_LEVELS.decode().split("\n"))
}
#: instruction sets that kernels without a level use; this module uses no others
instructions = PAREPROP_INSTRUCTIONS.decode().split()
#: the compiler, with Python's own flags
compiler = PAREPROP_COMPILER.decode()
#: digest of the sources of all kernels, the same whatever compiler, flags and processor they were compiled for
sources = PAREPROP_SOURCES.decode()
