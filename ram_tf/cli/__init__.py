"""The command `ram-tf`: a module a command, their flags and their exit statuses.

In: `sys.argv`. Out: a `Config`; on an error one sentence and a non-zero status.
Start reading at `main`, then `fit`. A flag of a setting is made from its field in
`runs.settings` by `setting_flags`; other flags are in the module of their command.
`scripts/` has a door to each command. TensorFlow takes seconds to load, so a command
imports what needs it in `main`.
"""
