"""Prediction for any number of images, shard by shard, with Apache Beam or Ray Data.

Start reading at `batch_folder`. Needs the extra `beam` or `ray`.
"""
