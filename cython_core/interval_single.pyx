"""Interval variant in single precision, see interval.pxi."""

include "single.pxi"
include "interval.pxi"
