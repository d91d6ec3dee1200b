"""Spike variant in single precision, see engine.pxi."""

include "single.pxi"
include "cells.pxi"
include "spike_variant/engine.pxi"
