"""Lays explanation graphs out for KServe: a manifest, an image and the program inside it."""
