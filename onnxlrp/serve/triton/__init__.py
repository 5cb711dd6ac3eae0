"""Lays explanation graphs out as a model repository of Triton."""
