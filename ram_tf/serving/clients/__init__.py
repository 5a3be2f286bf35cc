"""Clients of a TensorFlow Serving server: encoded images in, outputs out.

Start reading at `connection`.
"""
