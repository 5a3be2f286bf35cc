"""Files that are complete or absent, locks between processes, and cached outputs.

In: paths and bytes. Out: files with checksums that a crash never leaves half written.
Start reading at `atomic_files`.
"""
