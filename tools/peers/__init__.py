"""Scripts that need torch, zennit or captum: training, golden files, live comparison."""
