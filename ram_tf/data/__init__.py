"""Reads datasets, decodes and augments their images, and draws regions on them.

Input: a dataset's folder. Output: a `Split`, and `tf.data` pipelines of its images.
Start reading at `split`, then `pipelines`. `readers` has a module for each format.
"""
