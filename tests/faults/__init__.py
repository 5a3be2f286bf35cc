"""Faults that are done to the program, one kind a file, and what it makes of them.

`run` is the door. A fault is a `case.Case`; it works on a `bench.Bench`, which has an
undisturbed run to compare with and starts programs (`program`).
"""
