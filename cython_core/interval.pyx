"""Interval variant in double precision, see interval_variant/forward.pxi."""

include "double.pxi"
include "cells.pxi"
include "interval_variant/forward.pxi"
