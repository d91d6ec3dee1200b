"""Numbers and structs that Python and the kernels share, documented in layout.pxd."""

cdef BlockSettings[1] _settings
cdef RuleTargets[1] _targets


def example_settings():
    """Return a `BlockSettings`, of which an array has its type."""
    cdef BlockSettings[::1] example = _settings
    return example


def example_targets():
    """Return a `RuleTargets`, of which an array has its type."""
    cdef RuleTargets[::1] example = _targets
    return example
