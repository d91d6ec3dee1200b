"""Interval variant in double precision, see interval.pxi."""

include "double.pxi"
include "interval.pxi"
