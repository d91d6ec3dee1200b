"""Formats of other programs: writers of networks and spikes of a run, readers of recordings; a file for each format.

Readers that build a `Model` lie in `network`, which this subpackage imports: `from_sonata`, `from_nir`.

May import `storage`, `network`, `neurons`, `sonata` and the ground.

Where to add
------------
A format to write: `NAME_writer.py` with a function `export`, after `nir_writer`; an option of `pareprop export` in
`runs/commands.py`. What all writers check first: `export_checks`. A format to read: `NAME_reader.py`.
"""
