"""Algorithm `lines`: as `steps`, but values of several steps of a target share a cache line.

For optimizers with moments.
"""
