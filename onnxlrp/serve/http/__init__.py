"""A small HTTP server for one explanation graph: Open Inference Protocol v2, and a page."""
