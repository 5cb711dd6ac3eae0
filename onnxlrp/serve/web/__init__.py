"""A static page that runs an explanation graph in the browser."""
