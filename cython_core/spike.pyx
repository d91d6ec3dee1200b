"""Spike variant in double precision, see spike.pxi."""

include "double.pxi"
include "spike.pxi"
