"""SONATA networks on disk (Dai et al. 2020, doi 10.1371/journal.pcbi.1007696), read as they are found in the wild.

`circuit` finds the files that a configuration names, `table` reads type tables, `nodes` a node population, `edges` the
edges onto a range of targets in pieces, `spikes` spike trains, `hdf5` opens files with care.

May import the ground.

Where to add
------------
Another attribute of nodes or edges: the module that reads them. Its use in a network: `network/from_sonata`.
"""
