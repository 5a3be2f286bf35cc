"""Command-line flags and exit statuses of the programs in `scripts/`.

Input: `sys.argv`. Output: a `Config`, or a one-line error and a non-zero status.
Start reading at `setting_flags`.
"""
