"""SONATA networks on disk (Dai et al. 2020, doi 10.1371/journal.pcbi.1007696), also with deviations from the standard.

`circuit` finds the files that a configuration names, `table` reads type tables, `nodes` a node population, `edges` the
edges onto a range of targets in chunks, `spikes` spike trains; `hdf5` opens files that may be damaged.

May import the core utilities.

Where to add:

- another attribute of nodes or edges: the module that reads them; its use in a network: `network/from_sonata.py`.
"""
