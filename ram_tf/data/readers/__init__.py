"""Reads COCO, TensorFlow Datasets and the embedded digits: from a folder to a `Split`.

Start reading at `coco`. The folders `csv_reader` and `voc_reader` lie beside this one.
"""
