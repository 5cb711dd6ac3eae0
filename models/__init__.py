"""Small ONNX networks for tests, benchmarks and the README: builders, trained files, shapes data."""
