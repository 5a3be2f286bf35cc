"""Predictions for any number of images, shard by shard, with Apache Beam.

Start reading at `shards`; `beam_pipeline` needs the extra `beam`.
"""
