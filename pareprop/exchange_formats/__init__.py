"""Formats of other programs: writers of networks and spikes of a run, readers of recordings; a file for each format.

Readers that build a `Model` are in `network`, which this subpackage imports: `from_sonata`, `from_nir`.

May import `storage`, `network`, `neurons`, `sonata` and the core utilities.

Where to add:

- a format to write: `NAME_writer.py` with a function `export_network`, after `nir_writer`, and an option of
  `pareprop export` in `runs/commands.py`; `export_checks` has the checks that all writers share;
- a format to read: `NAME_reader.py`.
"""
