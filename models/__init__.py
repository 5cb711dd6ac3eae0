"""Small ONNX networks for tests, benchmarks and the README, and the pictures they explain."""
