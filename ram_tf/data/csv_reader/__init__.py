"""Reads folders with csv files or Label Studio exports: a user's own images.

In: a folder. Out: a `Split`. Start reading at `csv_folder`. `csv_text` finds encoding
and separator of a file, `csv_rows` its columns, `csv_cells` the labels in a cell.
"""
