"""From folders on disk to batches of pixels and labels, and from pixels to pictures.

In: a data set's folder. Out: a `Split`, and `tf.data` pipelines of its images.
Start reading at `split`, then `pipelines`. Each format has its reader in `readers`.
"""
