"""Spike variant in double precision, see engine.pxi."""

include "double.pxi"
include "cells.pxi"
include "spike_variant/engine.pxi"
