"""Command-line flags and the exit status; the commands are in `scripts/`.

In: `sys.argv`. Out: a `Config`, or one sentence of error and a non-zero status.
Start reading at `setting_flags`.
"""
