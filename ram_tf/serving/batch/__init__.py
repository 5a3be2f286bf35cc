"""Prediction for any number of images, shard by shard, with Apache Beam.

Start reading at `shards`. Needs the extra `beam`.
"""
