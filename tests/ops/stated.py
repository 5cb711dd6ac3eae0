"""Operator cases whose shapes are stated, because ONNX infers none."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tests.ops.case import Case, _constant

Stating = Mapping[str, tuple[int | str, ...]]


@dataclass(frozen=True)
class Stated(Case):
    """A case that states the shape of float values.

    Attributes:
        shapes: Sizes of y and of values inside; `x0` is the size of axis 0 of x.
        learned: Version of the operators of `ai.onnx.ml`.
    """

    shapes: Stating = field(default_factory=dict)
    learned: int = 3

    def model(self, form: str = "static") -> ModelProto:
        """The model, with static sizes or a symbol for every axis."""
        imports = f'"" : {self.opset}, "ai.onnx.ml" : {self.learned}'
        header = f"<ir_version: 10, opset_import: [{imports}]>"
        model = onnx.parser.parse_model(f"{header} g () => () {{ {self.body} }}")
        rng = self.rng()
        for name, given in self.constants.items():
            tensor = numpy_helper.from_array(_constant(rng, given), name)
            model.graph.initializer.append(tensor)
        for name, shape in self.inputs.items():
            dims = [self._size(form, f"{name}{axis}") for axis in range(len(shape))]
            model.graph.input.append(_typed(name, dims))
        for name, sizes in self.shapes.items():
            dims = [self._size(form, s) if isinstance(s, str) else s for s in sizes]
            (model.graph.output if name == "y" else model.graph.value_info).append(
                _typed(name, dims)
            )
        return model

    def _size(self, form: str, symbol: str) -> int | str:
        """The size of an axis of an input: a number or its symbol."""
        shared = "N" if symbol[1:] == "0" and self.samplewise else symbol
        return self._dim(form, shared, self.inputs[symbol[0]][int(symbol[1:])])


def _typed(name: str, dims: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)


def stated(
    name: str,
    body: str,
    inputs: Mapping[str, tuple[int, ...]],
    shapes: Stating,
    **rest: object,
) -> Stated:
    """A case with stated shapes; what `Stated` does not know are constants."""
    fields = {key: rest.pop(key) for key in list(rest) if key in Stated.__dataclass_fields__}
    return Stated(name, body, inputs, rest, shapes=shapes, **fields)  # type: ignore[arg-type]
