"""Spike variant in single precision, see spike.pxi."""

include "single.pxi"
include "spike.pxi"
