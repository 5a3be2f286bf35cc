"""Reads folders with csv files or Label Studio exports: a user's own images.

In: a folder. Out: a `Split`. Start reading at `csv_folder`.
"""
