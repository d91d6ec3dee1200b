"""Neuron models as equations: read (`language`, `model`), derived (`derive`), generated as C and compiled.

The kernels of NEST's own e-prop neurons are generated when the package is built (`built_in`), those of others when they
are first used (`compile`). May import the ground.

Where to add
------------
A neuron model: a file in `models/`, nothing else. A surrogate gradient: an entry of `surrogates`. A function in
expressions: `language`, `symbols` and `generate`. How a model is integrated: `dynamics`.
"""
