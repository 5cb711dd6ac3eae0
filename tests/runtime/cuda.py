"""What runs on a GPU only."""

import pytest

from onnxlrp.runtime.providers import CPU, CUDA, cuda_works

ON_CPU = [CPU]
ON_CUDA = [CUDA, CPU]


def needs_cuda(test):
    """Mark a test that runs on the CUDA provider; it skips where there is none."""
    skip = pytest.mark.skipif(not cuda_works(), reason="no CUDA device")
    return pytest.mark.cuda(skip(test))
