"""Interval variant in single precision, see interval_variant/forward.pxi."""

include "single.pxi"
include "cells.pxi"
include "interval_variant/forward.pxi"
