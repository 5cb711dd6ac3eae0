"""Writes nodes and constants around a model that is finished."""

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

__all__ = ["Sheet"]


class Sheet:
    """Nodes and constants that are written, with names below one prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}

    def __call__(self, op: str, *given: object, name: str = "", **attributes: object) -> str:
        """Write a node; its inputs are names, integers (int64) or arrays."""
        inputs = [item if isinstance(item, str) else self.constant(item) for item in given]
        label = f"{self.prefix}{op}_{len(self.nodes)}"
        node = helper.make_node(op, inputs, [name or label], name=label, **attributes)  # type: ignore[arg-type]
        self.nodes.append(node)
        return name or label

    def several(self, op: str, count: int, *given: object, **attributes: object) -> list[str]:
        """Write a node of several outputs."""
        label = f"{self.prefix}{op}_{len(self.nodes)}"
        names = [f"{label}_{index}" for index in range(count)]
        inputs = [item if isinstance(item, str) else self.constant(item) for item in given]
        self.nodes.append(helper.make_node(op, inputs, names, name=label, **attributes))  # type: ignore[arg-type]
        return names

    def constant(self, given: object) -> str:
        """Hold a constant, once for the same value."""
        tensor = numpy_helper.from_array(np.asarray(given))
        for name, known in self.constants.items():
            if (known.data_type, known.dims, known.raw_data) == (
                tensor.data_type,
                tensor.dims,
                tensor.raw_data,
            ):
                return name
        tensor.name = f"{self.prefix}constant_{len(self.constants)}"
        self.constants[tensor.name] = tensor
        return tensor.name
