"""Compiled kernels; `pareprop.kernels` is their only importer."""
