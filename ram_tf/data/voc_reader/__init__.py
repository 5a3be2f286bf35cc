"""Reads folders in PASCAL VOC's layout, also as labelling tools leave them.

In: a folder. Out: a `Split`. Start reading at `voc`.
"""
