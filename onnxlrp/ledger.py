"""The ledger: for every site what came in, what went out, and where the rest went."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from onnx import TensorProto

from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.metadata import LEDGER_COLUMNS

__all__ = ["Entry", "Ledger"]


class Entry:
    """One row: sums per sample, `[T*N, 1]` each; float64, for they run over 10^6 elements.

    Attributes:
        samplewise: As that of the ledger.
    """

    def __init__(self, t: Tape, *, samplewise: bool) -> None:
        self._tape = t
        self.samplewise = samplewise
        self._amounts: defaultdict[str, list[Value]] = defaultdict(list)

    def absorb(self, column: str, amount: Value) -> None:
        """Add the sum of an amount per sample to a column."""
        wide = self._tape.op("Cast", amount, to=TensorProto.DOUBLE)
        t = self._tape
        rows = t.rows(wide) if self.samplewise else t.op("Reshape", wide, [1, -1])
        total = t.op("ReduceSum", rows, [1], keepdims=1)
        self._amounts[column].append(total)

    def flows(self, into: Sequence[Value], out: Sequence[Value]) -> None:
        """State the relevance that arrived and the relevance that left."""
        for value in into:
            self.absorb("in", value)
        for value in out:
            self.absorb("out", value)

    def columns(self) -> list[Value]:
        """The eight columns; the last is what no formula accounts for."""
        t = self._tape
        zero = t.op("Mul", self._amounts["in"][0], np.array(0, dtype=np.float64))
        totals = [self._sum(name) or zero for name in LEDGER_COLUMNS[:-1]]
        rest = totals[0]
        for total in totals[1:]:
            if total is not zero:
                rest = t.op("Sub", rest, total)
        return [*totals, rest]

    def _sum(self, column: str) -> Value | None:
        amounts = self._amounts[column]
        return self._tape.total(amounts) if amounts else None


class Ledger:
    """Rows in the order of the walk.

    Attributes:
        samplewise: Whether every value has the batch on axis 0; else there is one row for all
            samples, for they mix.
    """

    def __init__(self, *, samplewise: bool = True, scope: str = "ledger") -> None:
        self.samplewise = samplewise
        self._scope = scope
        self._rows: list[tuple[str, Entry]] = []

    @contextmanager
    def row(self, t: Tape, name: str) -> Iterator[Entry]:
        """Collect what is absorbed inside the block into a row of that name."""
        entry = Entry(t, samplewise=self.samplewise)
        self._rows.append((name, entry))
        t.losses = entry
        try:
            yield entry
        finally:
            t.losses = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the rows."""
        return tuple(name for name, _ in self._rows)

    def table(self, t: Tape) -> Value:
        """All rows as one value, `[T*N, nodes, 8]`."""
        t.scope = self._scope
        columns = [column for _, entry in self._rows for column in entry.columns()]
        joined = t.op("Cast", t.op("Concat", *columns, axis=1), to=TensorProto.FLOAT)
        return t.op("Reshape", joined, [-1, len(self._rows), len(LEDGER_COLUMNS)])
