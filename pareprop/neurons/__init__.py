"""Neuron models as equations: read (`language`, `model`), derived (`derive`), generated as C and compiled.

May import the ground.

Where to add
------------
A neuron model: a file in `models/`, nothing else. A surrogate gradient: an entry of `surrogates`. A function in
expressions: `language`, `symbols` and `generate`. How a model is integrated: `dynamics`.
"""
