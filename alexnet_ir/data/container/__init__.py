"""A prepared data set: a folder of shards of encoded images, an index of each, statistics and a manifest.

`layout` says what the files hold, `writing` writes them, `reading` opens them, `store` decodes images.
"""
