"""Prediction for any number of images, shard by shard, with Apache Beam or Ray Data.

Start reading at `shards`. Needs the extra `beam` or `ray`.
"""
