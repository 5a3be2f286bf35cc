"""Writes files atomically, locks folders between processes, and caches model outputs.

Input: paths and bytes. Output: complete files, with checksums, even after a crash.
Start reading at `atomic_files`.
"""
