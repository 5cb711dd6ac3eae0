"""The canonical view: deployed nodes seen as sites of one mathematical map each."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from onnxlrp.errors import ModelError
from onnxlrp.graph.graph import Attribute, Graph, Node, Value
from onnxlrp.graph.tape import Tape

__all__ = ["Body", "Site", "View"]


@dataclass(frozen=True, eq=False)
class Body:
    """A graph inside of a site: one turn of a loop, or one branch.

    Attributes:
        view: Its sites; `view.graph` holds its nodes.
        tape: Emits into it.
        inputs: What the site gives it, in order.
        outputs: What it gives the site, in order.
    """

    view: "View"
    tape: Tape
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]


@dataclass(frozen=True, eq=False)
class Site:
    """One map of the view; it spans one or more deployed nodes.

    Attributes:
        name: Name of the node that gives the site its character.
        op: Operator type, also of composed sites (`Swish`, `BatchNormalization`, ...).
        inputs: Forward values that the map reads; None where an optional input is absent.
        outputs: Forward values that it computes.
        nodes: The deployed nodes.
        live: For each input whether it depends on an explained input.
        note: Why a canonizer made this site.
        captured: Values that its bodies read from outside.
        bodies: The graphs inside of it.
    """

    name: str
    op: str
    inputs: tuple[Value | None, ...]
    outputs: tuple[Value | None, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    nodes: tuple[Node, ...] = ()
    domain: str = ""
    opset: int = 21
    live: tuple[bool, ...] = ()
    note: str = ""
    captured: tuple[Value, ...] = ()
    bodies: tuple[Body, ...] = ()

    @property
    def output(self) -> Value:
        """The first output."""
        value = next(self.results, None)
        assert value is not None
        return value

    @property
    def sources(self) -> Iterator[Value]:
        """The inputs that are present, and what bodies capture."""
        yield from (value for value in self.inputs if value is not None)
        yield from self.captured

    @property
    def results(self) -> Iterator[Value]:
        """The outputs that are present."""
        return (value for value in self.outputs if value is not None)

    def input(self, index: int) -> Value | None:
        """An input, or None where it is absent."""
        return self.inputs[index] if index < len(self.inputs) else None

    def required(self, index: int) -> Value:
        """An input that the operator cannot do without."""
        value = self.input(index)
        if value is None:
            raise ModelError(f"node '{self.name}' ({self.op}) lacks its input {index}")
        return value

    def is_live(self, index: int) -> bool:
        """Whether an input is present and depends on an explained input."""
        return index < len(self.live) and self.live[index]

    def integer(self, name: str, default: int = 0) -> int:
        """An integer attribute."""
        value = self.attributes.get(name, default)
        assert isinstance(value, int)
        return value

    @property
    def switch(self) -> int | None:
        """Index of the factor of a product that only switches the other one, or None."""
        index = self.integer("switch", -1)
        return None if index < 0 else index

    def number(self, name: str, default: float = 0.0) -> float:
        """A floating-point attribute."""
        value = self.attributes.get(name, default)
        assert isinstance(value, int | float)
        return float(value)

    def text(self, name: str, default: str = "") -> str:
        """A string attribute."""
        value = self.attributes.get(name, default)
        assert isinstance(value, str)
        return value

    def integers(self, name: str, default: list[int] | None = None) -> list[int]:
        """An attribute that is a list of integers."""
        value = self.attributes.get(name, default or [])
        assert isinstance(value, list)
        return [int(item) for item in value]


class View:
    """The sites of a graph in forward order, and which of them makes and reads a value.

    Attributes:
        graph: The graph whose values the sites speak of.
        outputs: What the outputs of the model are in the view.
        names: Names in the model of values that stand in for deployed ones.
        reasons: Why a pattern did not match at a site.
    """

    def __init__(self, graph: Graph, sites: Iterable[Site] = ()) -> None:
        self.graph = graph
        self.outputs: tuple[Value, ...] = graph.outputs
        self.names: dict[Value, str] = {}
        self.reasons: list[tuple[Site, str]] = []
        self._slots: list[list[Site]] = []
        self._slot: dict[Site, int] = {}
        self._producer: dict[Value, Site] = {}
        self._readers: defaultdict[Value, dict[Site, None]] = defaultdict(dict)
        self.append(*sites)

    def __iter__(self) -> Iterator[Site]:
        for sites in list(self._slots):
            yield from list(sites)

    def append(self, *sites: Site) -> None:
        """Add sites behind all others."""
        for site in sites:
            self._slots.append([site])
            self._link(len(self._slots) - 1, site)

    def merge(self, olds: Sequence[Site], *news: Site) -> None:
        """Let new sites take the place of the last of the old ones."""
        last = self.ordered(olds)[-1]
        number, index = self._place(last)
        slot, gone = self._slots[number], set(olds)
        before = [site for site in slot[:index] if site not in gone]
        behind = [site for site in slot[index + 1 :] if site not in gone]
        for site in olds:
            self._drop(site)
        self._slots[number] = [*before, *news, *behind]
        for site in news:
            self._link(number, site)

    def _place(self, site: Site) -> tuple[int, int]:
        number = self._slot[site]
        return number, self._slots[number].index(site)

    def ordered(self, sites: Sequence[Site]) -> list[Site]:
        """Some sites in forward order."""
        return sorted(sites, key=self._place)

    def producer(self, value: Value) -> Site | None:
        """The site that computes a value; None for inputs and constants."""
        return self._producer.get(value)

    def readers(self, value: Value) -> list[Site]:
        """The sites that read a value."""
        return list(self._readers[value])

    def only_reader(self, value: Value) -> Site | None:
        """The one site that reads a value, if it is one and the value is no output."""
        readers = self._readers[value]
        if len(readers) != 1 or value in self.outputs:
            return None
        return next(iter(readers))

    def named(self, value: Value) -> str:
        """The name of a value in the model."""
        return self.names.get(value, value.name)

    def refuse(self, site: Site, reason: str) -> None:
        """Record why a pattern did not match at a site."""
        self.reasons.append((site, reason))

    def _link(self, number: int, site: Site) -> None:
        self._slot[site] = number
        for value in site.results:
            self._producer[value] = site
        for value in site.sources:
            self._readers[value][site] = None

    def _drop(self, site: Site) -> None:
        self._slots[self._slot.pop(site)].remove(site)
        for value in site.results:
            if self._producer.get(value) is site:
                del self._producer[value]
        for value in site.sources:
            self._readers[value].pop(site, None)
