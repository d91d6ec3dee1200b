"""One run: configuration, phases, provenance, comparison, verification, benchmark, and their commands.

May import `storage`, `simulation`, `tasks`, `plots`, `engines`, `network`, `neurons`, `parallel`, `plans`,
`rules` and the ground.

Where to add
------------
A command: `commands`. A section or key of the configuration: `config`, or the task that reads it.
"""
