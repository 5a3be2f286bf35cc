"""Reads datasets, with one module per format: from a folder to a `Split`.

Start reading at `csv_folder`, the format for a user's own images.
"""
