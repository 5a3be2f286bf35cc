"""Shards: the images of a dataset in a few large TFRecord files, with an index.

In: a `Split` of any dataset. Out: a folder, and of it the same `Split`. Start reading
at `shard_folder`.
"""
