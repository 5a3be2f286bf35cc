"""Planted faults: changes of the code that a test must notice.

Each entry of the TOML files is a fault: a file, a text in it, what a careless edit
would make of that text, and the test that must fail then. `planted` reads the entries,
and `trial` tries one in a copy of the files. `python -m tests.faults.mutations` tries
all of them.
"""
