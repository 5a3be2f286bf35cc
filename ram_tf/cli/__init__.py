"""Flags, and exit statuses, of the programs in `scripts/`.

In: `sys.argv`. Out: a `Config`; on an error one sentence and a non-zero status.
Start reading at `setting_flags`.
"""
