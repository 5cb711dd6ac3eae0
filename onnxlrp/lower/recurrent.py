"""RNN, GRU and LSTM: one Scan over the time steps for each direction."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Value
from onnxlrp.graph.view import Site
from onnxlrp.lower.control import turn_by_turn
from onnxlrp.lower.registry import lower
from onnxlrp.lower.sketch import Seen, Sketch

Function = Callable[[Sketch, Value], Value]
"""An activation."""

USUAL: Mapping[str, tuple[float, ...]] = {
    "affine": (1.0, 0.0),
    "elu": (1.0,),
    "hardsigmoid": (0.2, 0.5),
    "leakyrelu": (0.01,),
    "relu": (),
    "scaledtanh": (1.0, 1.0),
    "sigmoid": (),
    "softplus": (),
    "softsign": (),
    "tanh": (),
    "thresholdedrelu": (1.0,),
}
"""Activations with the usual alpha and beta."""

PLAIN = {
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "tanh": "Tanh",
}


@dataclass(frozen=True)
class Cell:
    """The parameters of one direction.

    Attributes:
        site: The operator.
        backwards: Whether time runs from the end.
        weights: For each gate W^T `[D, H]`.
        recurrent: For each gate R^T `[H, H]`.
        biases: For each gate the biases of W and of R, `[H]`; empty without.
        functions: The activations.
        peepholes: For each of i, o, f the weights of the cell state, `[H]`; empty without.
    """

    site: Site
    backwards: bool
    weights: tuple[Value, ...]
    recurrent: tuple[Value, ...]
    biases: tuple[tuple[Value, Value], ...]
    functions: tuple[Function, ...]
    peepholes: tuple[Value, ...] = ()

    def linear(self, b: Sketch, gate: int, x: Value, h: Value) -> Value:
        """W x + R h + b of a gate: one linear map, or two and their sum."""
        if b.settings.cell == "opwise":
            return b.op("Add", self.part(b, gate, 0, x), self.part(b, gate, 1, h))
        joined = b.op("Concat", x, h, axis=1)
        weight = b.op("Concat", self.weights[gate], self.recurrent[gate], axis=0)
        return b.op("Gemm", joined, weight, *self._bias(b, gate))

    def part(self, b: Sketch, gate: int, which: int, value: Value) -> Value:
        """W x + b (which 0) or R h + b (which 1) of a gate."""
        weight = (self.weights, self.recurrent)[which][gate]
        return b.op("Gemm", value, weight, *[pair[which] for pair in self.biases[gate : gate + 1]])

    def _bias(self, b: Sketch, gate: int) -> list[Value]:
        return [b.op("Add", *pair) for pair in self.biases[gate : gate + 1]]

    def activate(self, b: Sketch, index: int, value: Value) -> Value:
        """The activation of that number; its argument is clipped first where that is asked for."""
        clip = self.site.number("clip", 0.0)
        return self.functions[index](b, b.op("Clip", value, -clip, clip) if clip else value)


@lower("RNN")
def rnn(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """H = f(W x + R h + b)."""

    def step(b: Sketch, cell: Cell, x: Value, state: Sequence[Value]) -> tuple[Value, ...]:
        return (cell.activate(b, 0, cell.linear(b, 0, x, state[0])),)

    return _recurrent(sketch, site, step, gates=1, usual=("Tanh",))


@lower("GRU")
def gru(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """H = (1 - z) n + z h, n = g(W x + R (r h) + b); with a late reset g(W x + r (R h + b))."""

    def step(b: Sketch, cell: Cell, x: Value, state: Sequence[Value]) -> tuple[Value, ...]:
        (h,) = state
        z = cell.activate(b, 0, cell.linear(b, 0, x, h))
        r = cell.activate(b, 0, cell.linear(b, 1, x, h))
        if site.integer("linear_before_reset"):
            later = b.op("Mul", r, cell.part(b, 2, 1, h))
            inner = b.op("Add", cell.part(b, 2, 0, x), later)
        else:
            inner = cell.linear(b, 2, x, b.op("Mul", r, h))
        new = cell.activate(b, 1, inner)
        kept = b.op("Mul", z, h)
        return (b.op("Add", b.op("Mul", b.op("Sub", 1.0, z), new), kept),)

    return _recurrent(sketch, site, step, gates=3, usual=("Sigmoid", "Tanh"))


@lower("LSTM")
def lstm(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """C = f c + i g, H = o h(C); the gates i, o, f see the cell through peepholes."""

    def step(b: Sketch, cell: Cell, x: Value, state: Sequence[Value]) -> tuple[Value, ...]:
        h, c = state
        i = cell.activate(b, 0, _peep(b, cell, 0, cell.linear(b, 0, x, h), c))
        new = cell.activate(b, 1, cell.linear(b, 3, x, h))
        if site.integer("input_forget"):
            f = b.op("Sub", 1.0, i)
        else:
            f = cell.activate(b, 0, _peep(b, cell, 2, cell.linear(b, 2, x, h), c))
        later = b.op("Add", b.op("Mul", f, c), b.op("Mul", i, new))
        o = cell.activate(b, 0, _peep(b, cell, 1, cell.linear(b, 1, x, h), later))
        return b.op("Mul", o, cell.functions[2](b, later)), later

    return _recurrent(sketch, site, step, gates=4, usual=("Sigmoid", "Tanh", "Tanh"))


def _peep(b: Sketch, cell: Cell, index: int, value: Value, c: Value) -> Value:
    if not cell.peepholes:
        return value
    return b.op("Add", value, b.op("Mul", c, cell.peepholes[index]))


Step = Callable[[Sketch, Cell, Value, Sequence[Value]], tuple[Value, ...]]
"""One time step: the cell, x `[N, D]` and the states `[N, H]` -> the new states."""


def _recurrent(
    sketch: Sketch, site: Site, step: Step, *, gates: int, usual: tuple[str, ...]
) -> tuple[Seen, ...]:
    """The outputs Y, Y_h (and Y_c) of all directions."""
    first = site.integer("layout") == 1
    x = site.required(0)
    if x.rank != 3:
        raise UnsupportedOp("the rank of its input is not known")
    x = sketch.op("Transpose", x, perm=[1, 0, 2]) if first else x
    count = 2 if gates == 4 else 1
    every, last = [], []
    for number, cell in enumerate(_cells(sketch, site, gates, usual)):
        states = [_initial(sketch, site, x, number, 5 + index) for index in range(count)]
        stacked, finals = _over_time(sketch, cell, step, x, states)
        every.append(sketch.op("Unsqueeze", stacked, [1]))
        last.append([sketch.op("Unsqueeze", value, [0]) for value in finals])
    outputs = [
        _joined(sketch, every, 1),
        *(_joined(sketch, list(v), 0) for v in zip(*last, strict=True)),
    ]
    if first:
        orders = [[2, 0, 1, 3]] + [[1, 0, 2]] * count
        outputs = [sketch.op("Transpose", v, perm=p) for v, p in zip(outputs, orders, strict=True)]
    return tuple(outputs)


def _joined(sketch: Sketch, parts: list[Value], axis: int) -> Value:
    return parts[0] if len(parts) == 1 else sketch.op("Concat", *parts, axis=axis)


def _over_time(
    sketch: Sketch, cell: Cell, step: Step, x: Value, states: list[Value]
) -> tuple[Value, list[Value]]:
    """All hidden states `[L, N, H]` and the last states; samples may be shorter than L."""
    lengths = cell.site.input(4)
    if lengths is None:
        turn = _turn(cell, step, None)
        results = turn_by_turn(sketch, turn, states, [x], backwards=cell.backwards)
        return results[-1], list(results[:-1])
    lengths = sketch.op("Cast", lengths, to=7)
    if cell.backwards:
        x = sketch.op("ReverseSequence", x, lengths, time_axis=0, batch_axis=1)
    size = sketch.op("Squeeze", sketch.op("Shape", x, end=1))
    zero, one = sketch.t.constant_int(0), sketch.t.constant_int(1)
    times = sketch.op("Range", zero, size, one)
    results = turn_by_turn(sketch, _turn(cell, step, lengths), states, [x, times])
    stacked = results[-1]
    if cell.backwards:
        stacked = sketch.op("ReverseSequence", stacked, lengths, time_axis=0, batch_axis=1)
    return stacked, list(results[:-1])


def _turn(
    cell: Cell, step: Step, lengths: Value | None
) -> Callable[[Sketch, Sequence[Value]], Sequence[Seen]]:
    """One turn: the step, and behind the end of a sample its states as they were and 0."""
    count = 2 if len(cell.weights) == 4 else 1

    def turn(b: Sketch, inputs: Sequence[Value]) -> Sequence[Seen]:
        states = inputs[:count]
        new = step(b, cell, inputs[count], states)
        if lengths is None:
            return [*new, new[0]]
        running = b.op("Unsqueeze", b.op("Less", inputs[count + 1], lengths), [1])
        pairs = zip(new, states, strict=True)
        kept = [b.op("Where", running, after, before) for after, before in pairs]
        return [*kept, b.op("Where", running, new[0], 0.0)]

    return turn


def _initial(sketch: Sketch, site: Site, x: Value, number: int, index: int) -> Value:
    """The first state of a direction, `[N, H]`; zeros where there is none."""
    given, size = site.input(index), site.integer("hidden_size")
    if given is not None:
        return sketch.op(
            "Gather", given, sketch.t.constant_int(number), axis=int(site.integer("layout") == 1)
        )
    shape = sketch.op("Concat", sketch.op("Shape", x, start=1, end=2), [size], axis=0)
    zeros = sketch.op("Expand", 0.0, shape)
    return (
        zeros
        if zeros.tensor is not None
        else sketch.typed(zeros, ((x.shape or (None, None))[1], size))
    )


def _cells(sketch: Sketch, site: Site, gates: int, usual: tuple[str, ...]) -> Iterator[Cell]:
    """The directions with their parameters."""
    direction = site.text("direction", "forward")
    backwards = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
    for value in (*site.inputs[1:4], site.input(7)):
        if value is not None and value.variable:
            raise UnsupportedOp(f"its weights '{value.name}' depend on an input")
    functions = _functions(site, usual * len(backwards[direction]))
    size = len(usual)
    for number, back in enumerate(backwards[direction]):
        biases = _parts(sketch, site.input(3), number, 2 * gates)
        yield Cell(
            site=site,
            backwards=back,
            weights=_turned(sketch, _parts(sketch, site.required(1), number, gates)),
            recurrent=_turned(sketch, _parts(sketch, site.required(2), number, gates)),
            biases=tuple(zip(biases[:gates], biases[gates:], strict=True)),
            functions=functions[number * size : (number + 1) * size],
            peepholes=_parts(sketch, site.input(7), number, 3),
        )


def _parts(sketch: Sketch, value: Value | None, number: int, count: int) -> tuple[Value, ...]:
    """One entry per gate of the parameters of a direction."""
    if value is None:
        return ()
    own = sketch.op("Gather", value, sketch.t.constant_int(number), axis=0)
    if count == 1:
        return (own,)
    return sketch.ops("Split", own, outputs=count, axis=0, num_outputs=count)


def _turned(sketch: Sketch, parts: tuple[Value, ...]) -> tuple[Value, ...]:
    return tuple(sketch.op("Transpose", part, perm=[1, 0]) for part in parts)


def _functions(site: Site, usual: tuple[str, ...]) -> tuple[Function, ...]:
    """The activations with their parameters, which are listed in order for those that have any."""
    given = site.attributes.get("activations")
    names = [str(name).lower() for name in (given if isinstance(given, list) else usual)]
    names = [*names, *(name.lower() for name in usual[len(names) :])]
    alphas, betas = _numbers(site, "activation_alpha"), _numbers(site, "activation_beta")
    functions = []
    for name in names:
        if name not in USUAL:
            raise UnsupportedOp(f"its activation '{name}' is none of ONNX's")
        defaults = USUAL[name]
        alpha = [next(alphas, default) for default in defaults[:1]]
        beta = [next(betas, default) for default in defaults[1:]]
        functions.append(_function(name, *alpha, *beta))
    return tuple(functions)


def _numbers(site: Site, name: str) -> Iterator[float]:
    given = site.attributes.get(name)
    return iter([float(number) for number in given] if isinstance(given, list) else [])


def _function(name: str, alpha: float = 0.0, beta: float = 0.0) -> Function:
    if name in PLAIN:
        return lambda b, x: b.op(PLAIN[name], x)
    others: dict[str, Function] = {
        "affine": lambda b, x: b.op("Add", b.op("Mul", x, alpha), beta),
        "elu": lambda b, x: b.op("Elu", x, alpha=alpha),
        "hardsigmoid": lambda b, x: b.op("HardSigmoid", x, alpha=alpha, beta=beta),
        "leakyrelu": lambda b, x: b.op("LeakyRelu", x, alpha=alpha),
        "scaledtanh": lambda b, x: b.op("Mul", b.op("Tanh", b.op("Mul", x, beta)), alpha),
        "thresholdedrelu": lambda b, x: b.op("ThresholdedRelu", x, alpha=alpha),
    }
    return others[name]
