"""Datasets; checks, decoding and augmentation of images; drawing of regions.

In: a dataset's folder. Out: a `Split`, and `tf.data` batches of its images.
Start reading at `split`, then `pipelines`; `csv_reader`, `voc_reader`, `shards` and
`readers` read the formats, and `images` decodes single files.
"""
