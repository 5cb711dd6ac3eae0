"""Puts explanation graphs behind inference servers, on a laptop or into a browser."""
