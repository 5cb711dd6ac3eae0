"""`Explainer`: an explanation graph as a function of numpy arrays."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from onnxlrp.errors import InputError, ModelError, RuntimeMissing
from onnxlrp.metadata import TARGET, Metadata
from onnxlrp.runtime.batching import (
    BatchChoice,
    Trial,
    available_memory,
    choose_batch,
    measure_run,
    resident_memory,
    sample_inputs,
)
from onnxlrp.runtime.binding import choose_runner, run_options
from onnxlrp.runtime.collect import Collector
from onnxlrp.runtime.jobs import Found, Job, Request, join, joint_key, make_job, split
from onnxlrp.runtime.plan import Plan, Slot
from onnxlrp.runtime.providers import failures, one_line, open_session
from onnxlrp.runtime.result import Array, Result, is_explanation, make_result
from onnxlrp.runtime.settings import Provider, Settings
from onnxlrp.runtime.shared import Weights
from onnxlrp.runtime.signature import read_signature
from onnxlrp.runtime.stream import Decoded, OnError, Options, stream
from onnxlrp.runtime.targets import in_range, index_axes, known_targets, rounds, takes_several

Progress: TypeAlias = Callable[[int, int], None]


class Graph(Protocol):
    """An explanation graph in memory, as `onnxlrp.compile` returns it."""

    def to_bytes(self) -> bytes:
        """Return the model file."""


class Proto(Protocol):
    """A model in memory, as the onnx package has it."""

    def SerializeToString(self) -> bytes:  # noqa: N802
        """Return the model file."""


class Explainer:
    """Runs an explanation graph.

    Attributes:
        metadata: What the graph says about itself.
        signature: Its inputs and outputs.
        providers: The ONNX Runtime providers in use, in order of preference.
        parallel: Runs that may be under way at once.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes | Graph | Proto,
        providers: Sequence[Provider] | None = None,
        *,
        settings: Settings | None = None,
        weights: Weights | None = None,
    ) -> None:
        """Load the graph.

        Args:
            model: Path, bytes, ModelProto or ExplanationGraph.
            providers: Providers as ONNX Runtime takes them; None: CUDA if it really works, else
                the CPU.
            settings: Threads, precision, layout and memory.
            weights: Weights that several sessions share.

        Raises:
            InputError: The settings need another provider.
            ModelError: No explanation graph, or ONNX Runtime cannot load it.
            RuntimeMissing: ONNX Runtime is not installed.
        """
        settings = settings or Settings()
        source = _source(model)
        self._weights = weights  # the session reads them in place
        shared = None if weights is None else weights.of(source)
        self._session = open_session(source, providers, settings, shared)
        self._options = run_options(self._session, settings)
        self._runner = choose_runner(self._session, settings, self._options)
        self.parallel = self._runner.parallel
        self.metadata = Metadata.read(self._session.get_modelmeta().custom_metadata_map)
        self.signature = read_signature(self._session)
        self.providers = tuple(self._session.get_providers())
        missing = [name for name in self.metadata.inputs if name not in self.signature.inputs]
        if missing or self.metadata.output not in self.signature.outputs:
            raise ModelError("the metadata names values that the graph does not have; compile anew")

    def __call__(
        self,
        inputs: Mapping[str, npt.ArrayLike],
        target: npt.ArrayLike | None = None,
        seed: npt.ArrayLike | None = None,
        masks: Mapping[str, npt.ArrayLike] | None = None,
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> Result:
        """Predict and explain any number of samples.

        Args:
            inputs: An array for every input of the model, by name; `noise/<input>` where a graph
                takes noise.
            target: Indices `[N]` (index tuples `[N, r]`) or several per sample, `[N, T]`
                (`[N, T, r]`), for a graph compiled with `target="input"`.
            seed: The relevance of the output, for a graph compiled with `target="seed"`.
            masks: Masks of hidden values by name, for a graph compiled with `masks=`.
            batch_size: Most samples per run.
            progress: Called with (samples done, samples in all) after every run.

        Raises:
            InputError: An array does not fit; the text says what is expected and what came.
            ModelError: ONNX Runtime failed.
        """
        request = Request(inputs=inputs, target=target, seed=seed, masks=masks)
        return make_result(*self._run(self.prepare(request, batch_size), progress))

    def stream(
        self,
        items: Iterable[Any],
        target: npt.ArrayLike | None = None,
        *,
        decode: Callable[[Any], Decoded] | None = None,
        batch_size: int = 32,
        workers: int = 2,
        on_error: OnError = "raise",
    ) -> Iterator[Result]:
        """Explain a stream of items; reading the next ones, copying and computing overlap.

        Consecutive items of equal shapes run as one batch. Results come in the order of the items,
        one for each, as single calls give them. At most `2 * batch_size + workers` items are
        decoded ahead. The items are drawn in the thread of the caller; an exception of the iterable
        itself comes at once, before the results still under way. Closing the iterator, or any
        exception, ends the threads.

        Args:
            items: Inputs as a call takes them, `Request`s, or anything that `decode` turns into
                one.
            target: The target of items that are no `Request`.
            decode: Turns an item into inputs or a `Request`; runs in several threads.
            batch_size: Most samples per run.
            workers: Threads that decode.
            on_error: Where an item cannot be decoded or run: `raise` its exception in its place,
                `skip` it, or a function of the number of the item and the exception that returns
                a result in its place, or None.

        Raises:
            InputError: A number is not positive, or an item does not fit.
            ModelError: ONNX Runtime failed.
        """
        options = Options(
            decode=decode,
            target=target,
            batch_size=batch_size,
            workers=workers,
            on_error=on_error,
        )
        return stream(self, items, options)

    def best_batch(
        self,
        inputs: Mapping[str, npt.ArrayLike] | None = None,
        target: npt.ArrayLike | None = None,
        *,
        limit: int = 256,
        memory: int | None = None,
        gain: float = 0.05,
    ) -> BatchChoice:
        """Find the batch size from which on a larger one gains nothing.

        The batch is doubled; a batch that is predicted to exceed the memory is not run. What is
        measured is the memory of the process, not that of a GPU.

        Args:
            inputs: The inputs of one sample, with a batch axis of 1; None: random ones.
            target: Its target, for a graph compiled with `target="input"`; None: 0.
            limit: Largest batch to try.
            memory: Bound on the memory of the process in bytes; None: what it holds now and four
                fifths of what is free.
            gain: Least share by which a doubling must raise the throughput.

        Raises:
            InputError: An input does not fit, the graph takes one sample per run, or no batch fits.
        """
        given = inputs or sample_inputs(self.signature.inputs, 1)
        if target is None and TARGET in self.signature.extra:
            target = np.zeros((1, *self.signature.extra[TARGET].shape[1:]), np.int64)
        one = self.prepare(Request(inputs=given, target=target), limit)
        if one.plan.count != 1 or (limit > 1 and joint_key(one) is None):
            raise InputError("best_batch needs inputs of one sample and a graph with a batch axis")

        def measure(batch: int) -> Trial:
            job = join([one] * batch)
            return measure_run(lambda: self._run(job), batch)

        bound = available_memory() if memory is None else memory
        start = resident_memory()
        return choose_batch(measure, limit=limit, memory=bound, start=start, gain=gain)

    def prepare(self, request: Request, batch_size: int = 32) -> Job:
        """Check a request.

        Raises:
            InputError: An array does not fit; the text says what is expected and what came.
        """
        return make_job(request, self.signature, self.metadata, batch_size)

    def together(self, jobs: Sequence[Job]) -> list[Result]:
        """Run jobs with equal keys as one; return the result of each.

        Raises:
            InputError: A target is out of range.
            ModelError: ONNX Runtime failed.
        """
        found, target = self._run(join(jobs))
        if len(jobs) == 1:
            return [make_result(found, target)]
        results, low = [], 0
        for job, part in zip(jobs, split(jobs, found, self.signature), strict=True):
            high = low + job.plan.count
            results.append(make_result(part, None if target is None else target[low:high]))
            low = high
        return results

    def stop(self) -> None:
        """Break off the runs under way; they and later ones raise ModelError until `resume`.

        A run ends before its next node. The replay of a CUDA graph is not broken off.
        """
        self._options.terminate = True

    def resume(self) -> None:
        """Let runs pass again after `stop`."""
        self._options.terminate = False

    def assignment(self) -> dict[str, str]:
        """Return the provider of each node of the graph as ONNX Runtime optimised it.

        Nodes without a name of their own are called `<op>_<number>`.

        Raises:
            RuntimeMissing: The installed ONNX Runtime does not report it.
        """
        if not hasattr(self._session, "get_provider_graph_assignment_info"):
            raise RuntimeMissing("provider assignment needs a newer ONNX Runtime: upgrade it")
        nodes: dict[str, str] = {}
        for part in self._session.get_provider_graph_assignment_info():
            for node in part.get_nodes():
                unnamed = not node.name or node.name in nodes
                nodes[f"{node.op_type}_{len(nodes)}" if unnamed else node.name] = part.ep_name
        return nodes

    def _run(self, job: Job, progress: Progress | None = None) -> tuple[Found, Array | None]:
        """Run a job; return the outputs of the graph and the explained indices."""
        plan, targets, metadata = job.plan, job.targets, self.metadata
        output = self.signature.outputs[metadata.output]
        if targets is None:
            found = self._collect(plan, [{}], stack=False, progress=progress)
            if plan.stacked and len(output.shape) != 1:
                return found, None
            prediction = found[output.name]
            known = known_targets(metadata, output, prediction, batch_axis=not plan.stacked)
            return found, known
        port = self.signature.extra[TARGET]
        native = takes_several(port, output)
        stack = targets.several and not native
        found = self._collect(plan, rounds(targets, port, output), stack, progress)
        indices = targets.indices
        if not all(isinstance(output.shape[axis], int) for axis in index_axes(output)):
            indices = in_range(indices, output, found[output.name].shape[-len(output.shape) :])
        used = replace(targets, indices=indices, several=targets.several or native)
        return found, used.array()

    def _collect(
        self,
        plan: Plan,
        extras: Sequence[Mapping[str, Slot]],
        stack: bool,
        progress: Progress | None,
    ) -> Found:
        ports = self.signature.outputs
        collector = Collector(plan=plan)
        for low, high in plan.spans():
            feeds = [_part({**plan.slots, **extra}, low, high) for extra in extras]
            values = self._once(list(ports), feeds[0])
            if stack:
                self._stack(values, feeds[1:], axis=0 if plan.stacked else 1)
            for name, value in values.items():
                collector.add(ports[name], value, low, high)
            if progress is not None:
                progress(high, plan.count)
        return collector.arrays

    def _stack(self, values: dict[str, Array], feeds: list[dict[str, Array]], axis: int) -> None:
        """Replace the explanations of the first target by those of all targets."""
        names = [name for name in values if is_explanation(name)]
        further = [self._once(names, feed) for feed in feeds]
        for name in names:
            values[name] = np.stack([values[name], *(run[name] for run in further)], axis=axis)

    def _once(self, names: Sequence[str], feed: Mapping[str, Array]) -> dict[str, Array]:
        try:
            arrays = self._runner.run(names, feed)
        except failures() as error:
            kind = InputError if type(error).__name__ == "InvalidArgument" else ModelError
            raise kind(f"ONNX Runtime cannot run the graph: {one_line(error)}") from error
        labels = self.metadata.labels
        pairs = zip(names, arrays, strict=True)
        return {name: _array(value, labels.get(name)) for name, value in pairs}


def _array(value: object, labels: Sequence[int | str] | None) -> Array:
    """An output as an array.

    Of a dictionary per sample, as a ZipMap makes them, the numbers in the order of the classes; a
    list of unequal arrays is an array of objects.
    """
    if isinstance(value, list) and value and isinstance(value[0], dict):
        keys = list(value[0]) if labels is None else labels
        return np.array([[row[key] for key in keys] for row in value], dtype=np.float32)
    if isinstance(value, list) and len({np.shape(item) for item in value}) > 1:
        array = np.empty(len(value), dtype=object)
        array[:] = value
        return array
    return np.asarray(value)


def _source(model: str | os.PathLike[str] | bytes | Graph | Proto) -> str | bytes:
    if isinstance(model, str | os.PathLike):
        return os.fspath(model)
    if isinstance(model, bytes | bytearray | memoryview):
        return bytes(model)
    if hasattr(model, "to_bytes") and not isinstance(model, int):
        return model.to_bytes()
    if hasattr(model, "SerializeToString"):
        return model.SerializeToString()
    raise InputError(
        f"a model is a path, bytes, a ModelProto or an ExplanationGraph, not {type(model).__name__}"
    )


def _part(slots: Mapping[str, Slot], low: int, high: int) -> dict[str, Array]:
    return {name: slot.part(low, high) for name, slot in slots.items()}
