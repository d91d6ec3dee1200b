"""Numbers that Python and the kernels share; layout.pxd tells what they mean."""
