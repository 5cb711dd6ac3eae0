"""What an import loads: the deployment side needs neither onnx nor networkx."""

import subprocess
import sys

import pytest

import onnxlrp

HEAVY = {"PIL", "networkx", "numpy", "onnx", "onnxruntime"}


def loaded(statement: str) -> set[str]:
    """The packages that a fresh process holds after a statement."""
    code = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


def test_package_loads_nothing_heavy() -> None:
    assert not loaded("import onnxlrp; onnxlrp.__all__; dir(onnxlrp)") & HEAVY


@pytest.mark.parametrize("module", ["runtime", "render", "data"])
def test_deployment_side_needs_no_compiler(module: str) -> None:
    assert not loaded(f"import onnxlrp.{module}") & {"networkx", "onnx", "onnxruntime"}


def test_public_names_of_the_deployment_side() -> None:
    found = loaded("from onnxlrp import Explainer, InputError, Result, render")
    assert not found & {"networkx", "onnx", "onnxruntime"}


def test_compiler_needs_no_runtime() -> None:
    assert "onnxruntime" not in loaded("import onnxlrp.compile")


def test_names_are_where_the_table_says() -> None:
    assert sorted(onnxlrp.HOMES) == sorted(onnxlrp.__all__)
    for name, home in onnxlrp.HOMES.items():
        found = loaded(f"import onnxlrp; print(callable(onnxlrp.{name}))")
        assert "True" in found, f"{name} of onnxlrp.{home}"


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = onnxlrp.nothing


@pytest.mark.parametrize("name", [name for name, home in onnxlrp.HOMES.items() if name == home])
def test_functions_win_over_modules_of_their_name(name: str) -> None:
    found = loaded(f"import onnxlrp.{name}, onnxlrp; print(callable(onnxlrp.{name}))")
    assert "True" in found
