"""Complete files, locks between processes, and cached model outputs.

In: paths and bytes. Out: files with checksums, whole even after a crash.
Start reading at `atomic_files`.
"""
