"""One run: configuration, phases, provenance, comparison, verification, benchmark, and their commands.

May import `exchange_formats`, `storage`, `simulation`, `tasks`, `plots`, `engines`, `network`, `neurons`,
`parallel`, `algorithms`, `rules` and the core utilities.

Where to add:

- a command: a function in `commands`, its place in `COMMANDS` of `cli.py`, and a row on the handbook's page "Commands";
- a key of the configuration: a field with bounds of its class (`tasks/base.py` for all tasks, a task, `Record`,
  `Checkpoint`); `config` finds unknown keys;
- a column of `bench --json`: the dict that `benchmark.run` returns; a setting of `bench`: `Bench`;
- a curve or table of the report: `report`; an observer of every run: `run`.
"""
