"""SONATA networks on disk (Dai et al. 2020, doi 10.1371/journal.pcbi.1007696), read as they are found in the wild.

`circuit` finds the files that a configuration names, `table` reads type tables, `nodes` a node population, `edges` the
edges onto a range of targets in pieces, `spikes` the spike trains of virtual populations, `hdf5` opens files with care.
May import the ground. Where to add: another attribute of nodes or edges in the module that reads them; a network is made
of all this in `network/from_sonata`.
"""
