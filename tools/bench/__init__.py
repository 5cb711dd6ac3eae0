"""Time and memory of explanations; prints, asserts nothing."""
