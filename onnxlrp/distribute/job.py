"""What a worker must know, and what it reports."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Final, Literal, TypeAlias

from onnxlrp.distribute.items import Source
from onnxlrp.errors import InputError

__all__ = ["FORMATS", "Format", "Job", "Lost", "Outcome", "Receipt", "Refused", "Values"]

Format: TypeAlias = Literal["parquet", "png", "npz"]
Values: TypeAlias = Literal["relevance", "heatmap"]

FORMATS: Final = ("parquet", "png", "npz")


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that decides the results; every worker gets the same.

    Attributes:
        model: Path of the explanation graph.
        source: Where the samples are.
        out: The folder of the results.
        format: How they are written.
        values: Relevance as it is, or summed over the channels.
        preprocessing: How pictures are prepared, as JSON; None: as the graph says, or assumed.
        layout: Layout of the picture input; None: as its shape says.
        target: The target of all samples, for a graph that takes one.
        batch_size: Most samples per run.
        threads: Threads of one session; None: all cores.
        providers: ONNX Runtime providers; None: CUDA where it works, else the CPU.
        colors: Colour map of PNG files.
    """

    model: str
    source: Source
    out: str
    format: Format = "parquet"
    values: Values = "relevance"
    preprocessing: Mapping[str, object] | None = None
    layout: str | None = None
    target: int | tuple[int, ...] | None = None
    batch_size: int = 16
    threads: int | None = None
    providers: tuple[str, ...] | None = None
    colors: str = "seismic"

    def __post_init__(self) -> None:
        """Check the choices.

        Raises:
            InputError: An unknown format, or a number that is not positive.
        """
        if self.format not in FORMATS:
            raise InputError(f"--format {self.format} is none of {', '.join(FORMATS)}")
        if self.batch_size < 1:
            raise InputError(f"--batch-size must be at least 1, got {self.batch_size}")

    def settings(self) -> dict[str, object]:
        """Return what a later run must have in common, but for the model."""
        left_out = ("model", "out", "threads", "providers")
        return {name: value for name, value in asdict(self).items() if name not in left_out}


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What became of a shard; once it is written, the shard is done.

    Attributes:
        shard: Its number.
        items: Its samples.
        explained: How many of them have a result.
        file: Name of the results, empty where there is none.
        seconds: How long it took.
        failures: Samples without a result: index, name, reason.
        notes: What was assumed, in words.
    """

    shard: int
    items: int
    explained: int
    file: str
    seconds: float
    failures: tuple[tuple[int, str, str], ...] = field(default=())
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A shard that no worker could finish; a later run tries it again.

    Attributes:
        shard: Its number.
        reason: What happened last.
    """

    shard: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A worker cannot start at all.

    Attributes:
        reason: Why.
    """

    reason: str


Outcome: TypeAlias = Receipt | Lost
