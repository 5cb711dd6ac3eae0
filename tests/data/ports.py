"""Inputs of models, for the tests of `data`."""

from onnxlrp.runtime.signature import Port


def port(*shape, kind="float", name="x"):
    return Port(name=name, dtype=None, kind=kind, shape=shape)


def ports(*shapes, kind="float"):
    return {f"x{k}": port(*shape, kind=kind, name=f"x{k}") for k, shape in enumerate(shapes)}
