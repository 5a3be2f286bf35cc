"""Loads the splits of a run, and checks them for faults, duplicates and leakage.

In: a `Config`. Out: training, validation and test `Split`. Start at `run_splits`.
"""
