"""`python -m onnxlrp.cli`."""

import sys

from onnxlrp.cli.app import main

sys.exit(main())
