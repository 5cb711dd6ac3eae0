#!/usr/bin/env bash
# Format, lint, types, sizes, generated tables, tests. Arguments are passed on to pytest:
#   tools/check.sh                     everything
#   tools/check.sh -n 2 tests/ops      these tests, two at a time
# PYTHON names the interpreter (default: that of .venv, else python3).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ -z "${PYTHON:-}" ]]; then
    PYTHON=python3
    [[ -x .venv/bin/python ]] && PYTHON=.venv/bin/python
fi

step() {
    echo "== $1"
    shift
    "$@"
}

step format "$PYTHON" -m ruff format --check .
step lint "$PYTHON" -m ruff check .
step types "$PYTHON" -m mypy
step sizes "$PYTHON" tools/sizes.py --worst 1
step operators "$PYTHON" tools/supported_ops.py --check
if [[ "${1:-}" != --no-tests ]]; then
    step tests "$PYTHON" -m pytest "$@"
fi
