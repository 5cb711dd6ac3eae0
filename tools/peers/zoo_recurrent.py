"""The zoo's networks with recurrence, loops, scans and branches."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tools.peers.zoo_torch import DYNAMO, LEGACY, Network

__all__ = ["networks"]

WORDS, FEATURES, WIDTH, CLASSES, STEPS = 20, 6, 12, 4, 7
BOTH = {0: "batch", 1: "time"}


def networks() -> Iterator[Network]:
    """Yield every recurrent network."""
    yield from _layers()
    yield from _reservoirs()
    yield from _branches()
    yield Network(
        name="tcn",
        family="TCN",
        build=_convolutional,
        sample=lambda: {"input": torch.randn(2, FEATURES, 24)},
        axes={0: "batch"},
    )
    yield Network(
        name="transformer_encoder", family="Transformer", build=_encoder, sample=_series, axes=BOTH
    )


def _series() -> dict[str, Tensor]:
    return {"input": torch.randn(2, STEPS, FEATURES)}


def _words() -> dict[str, Tensor]:
    return {"tokens": torch.randint(WORDS, (2, STEPS))}


def _with_lengths() -> dict[str, Tensor]:
    return _words() | {"lengths": torch.tensor([STEPS, STEPS - 3])}


def _with_state() -> dict[str, Tensor]:
    return _series() | {"h": torch.randn(1, 2, WIDTH), "c": torch.randn(1, 2, WIDTH)}


def _layers() -> Iterator[Network]:
    """Classifiers and taggers with the layers of `torch.nn`."""
    for name, cell in (("lstm", nn.LSTM), ("gru", nn.GRU), ("rnn", nn.RNN)):
        build = partial(Last, cell)
        yield Network(name=f"{name}_last", family=name.upper(), build=build, sample=_series)
        yield Network(
            name=f"{name}_tagger",
            family=name.upper(),
            build=partial(Tagger, cell),
            sample=_words,
            axes=BOTH,
        )
    two = {"num_layers": 2}
    for name, cell, options in (
        ("lstm_two", nn.LSTM, two),
        ("gru_two", nn.GRU, two | {"bidirectional": True}),
        ("rnn_relu", nn.RNN, {"nonlinearity": "relu", "bias": False}),
        ("lstm_projected", nn.LSTM, {"proj_size": 5}),
    ):
        yield Network(
            name=name,
            family=name.split("_")[0].upper(),
            build=partial(Last, cell, **options),
            sample=_series,
        )
    yield Network(
        name="lstm_states",
        family="LSTM",
        build=States,
        sample=_with_state,
        own={"h": {1: "batch"}, "c": {1: "batch"}},
    )
    yield Network(
        name="lstm_lengths",
        family="LSTM",
        build=Packed,
        sample=_with_lengths,
        axes=BOTH,
        own={"lengths": {0: "batch"}},
        exporters=(LEGACY,),
    )


class Last(nn.Module):
    """A recurrent layer and a class from its last step."""

    def __init__(self, cell: Callable[..., nn.Module], **options: object) -> None:
        super().__init__()
        self.cell = cell(FEATURES, WIDTH, batch_first=True, **options)
        wide = 2 * WIDTH if options.get("bidirectional") else options.get("proj_size", WIDTH)
        self.head = nn.Linear(wide, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of each series."""
        return self.head(self.cell(x)[0][:, -1])


class Tagger(nn.Module):
    """Embedding, a bidirectional layer, a class per word."""

    def __init__(self, cell: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, FEATURES)
        self.cell = cell(FEATURES, WIDTH, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * WIDTH, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        """Class scores of each word."""
        return self.head(self.cell(self.embed(tokens))[0])


class States(nn.Module):
    """A layer whose states come in and go out."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTM(FEATURES, WIDTH, batch_first=True), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Class scores and the last states."""
        y, (h, c) = self.cell(x, (h, c))
        return self.head(y[:, -1]), h, c


class Packed(nn.Module):
    """A layer that reads as many words as each text has."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(WORDS, FEATURES), nn.Linear(WIDTH, CLASSES)
        self.cell = nn.LSTM(FEATURES, WIDTH, batch_first=True)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Class scores of each word; those behind the end see zeros."""
        packed = pack_padded_sequence(self.embed(tokens), lengths, batch_first=True)
        return self.head(pad_packed_sequence(self.cell(packed)[0], batch_first=True)[0])


def _reservoirs() -> Iterator[Network]:
    """One echo state network as unrolled steps, as a loop, as a scan; loops that end on data."""
    for variant, build, exporters in (
        ("unrolled", Reservoir, (LEGACY, DYNAMO)),
        ("loop", lambda: torch.jit.script(Reservoir()), (LEGACY,)),
        ("scan", Scanned, (DYNAMO,)),
    ):
        yield Network(
            name="esn",
            family="ESN",
            variant=variant,
            build=build,
            sample=_series,
            axes={0: "batch"} if variant == "unrolled" else BOTH,
            exporters=exporters,
        )
    yield Network(
        name="loop_lists",
        family="Loop",
        build=lambda: torch.jit.script(Lists()),
        sample=_series,
        axes=BOTH,
        exporters=(LEGACY,),
    )
    yield Network(
        name="loop_until",
        family="Loop",
        build=lambda: torch.jit.script(Until()),
        sample=lambda: {"input": torch.randn(2, FEATURES)},
        exporters=(LEGACY,),
    )


class Reservoir(nn.Module):
    """A leaky echo state network with a linear readout of its last state."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(FEATURES, WIDTH)
        self.again = nn.Parameter(torch.randn(WIDTH, WIDTH) / WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)
        self.leak = 0.4

    def forward(self, x: Tensor) -> Tensor:
        """The readout of the state behind the last step."""
        state = torch.zeros(x.size(0), self.again.size(0))
        for step in range(x.size(1)):
            pushed = torch.tanh(self.enter(x[:, step]) + state @ self.again)
            state = (1 - self.leak) * state + self.leak * pushed
        return self.head(state)


class Scanned(Reservoir):
    """The same network, its steps as one `scan`."""

    def forward(self, x: Tensor) -> Tensor:
        """The readout of the state behind the last step."""

        def step(state: Tensor, pushed: Tensor) -> tuple[Tensor, Tensor]:
            seen = torch.tanh(pushed + state @ self.again)
            state = (1 - self.leak) * state + self.leak * seen
            return state, state.clone()

        begin = torch.zeros(x.size(0), WIDTH)
        last, _ = scan(step, begin, self.enter(x).transpose(0, 1), dim=0)
        return self.head(last)


class Lists(nn.Module):
    """A loop that appends each state to a list (a sequence in ONNX) and stacks it."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.again = nn.Linear(FEATURES, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of each step."""
        found: list[Tensor] = []
        state = torch.zeros(x.size(0), 12)
        for step in range(x.size(1)):
            state = torch.tanh(self.enter(x[:, step]) + self.again(state))
            found.append(state)
        return self.head(torch.stack(found, 1))


class Until(nn.Module):
    """A loop that goes on until a value is small enough: how often depends on the input."""

    def __init__(self) -> None:
        super().__init__()
        self.turn, self.head = nn.Linear(FEATURES, FEATURES), nn.Linear(FEATURES, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of the last value."""
        turns = 0
        while bool(x.abs().max() > 0.5) and turns < 9:
            x = 0.7 * torch.tanh(self.turn(x))
            turns += 1
        return self.head(x)


def _branches() -> Iterator[Network]:
    """One condition on the data, two bodies."""
    for variant, build, exporter in (
        ("script", lambda: torch.jit.script(Scripted()), LEGACY),
        ("cond", Conditional, DYNAMO),
    ):
        yield Network(
            name="branch",
            family="If",
            variant=variant,
            build=build,
            sample=lambda: {"input": torch.randn(2, FEATURES)},
            exporters=(exporter,),
        )


class Scripted(nn.Module):
    """A branch written as `if`."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(FEATURES, WIDTH), nn.Linear(FEATURES, WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores by one of two layers."""
        if bool(x.sum() > 0):
            y = torch.relu(self.one(x))
        else:
            y = torch.tanh(self.two(x))
        return self.head(y)


class Conditional(Scripted):
    """The same branch written as `torch.cond`."""

    def forward(self, x: Tensor) -> Tensor:
        """Class scores by one of two layers."""
        y = torch.cond(
            x.sum() > 0, lambda x: torch.relu(self.one(x)), lambda x: torch.tanh(self.two(x)), (x,)
        )
        return self.head(y)


def _convolutional() -> nn.Module:
    layers: list[nn.Module] = []
    for step, before in enumerate((FEATURES, WIDTH, WIDTH)):
        far = 2**step
        layers += [
            nn.ConstantPad1d((2 * far, 0), 0.0),
            nn.utils.parametrizations.weight_norm(nn.Conv1d(before, WIDTH, 3, dilation=far)),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(WIDTH, CLASSES))


def _encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(12, 2, 24, batch_first=True, activation="gelu")
    layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    return nn.Sequential(nn.Linear(FEATURES, 12), layers, nn.Linear(12, CLASSES))
