"""Data: the images that a `data` section names, the transforms on them, and the batches that a net is fed."""
