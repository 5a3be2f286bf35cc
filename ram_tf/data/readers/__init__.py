"""One module for each format of data set: a folder in, a `Split` out.

Start reading at `csv_folder`, the format for one's own pictures.
"""
