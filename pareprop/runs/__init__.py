"""One run: configuration, phases, provenance, comparison, verification, benchmark, and their commands.

May import `exchange_formats`, `storage`, `simulation`, `tasks`, `plots`, `engines`, `network`, `neurons`,
`parallel`, `algorithms`, `rules` and the ground.

Where to add
------------
A command: `commands`. A key of the configuration: a field, with its bounds, of the class that has it (`tasks.base` for
all tasks, a task for its own, `Record`, `Checkpoint`); `config` finds unknown keys. A column of `bench --json`:
`benchmark.run`. A curve or table of the report: `report`. An observer of every run: `run`.
"""
