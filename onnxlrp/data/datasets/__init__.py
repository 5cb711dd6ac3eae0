"""Data sets with labels: what lies in them, by name; read one sample at a time."""
