"""The folder of the results: which shards there are, which are done, what failed."""

import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from onnxlrp.distribute.items import Item, Shard
from onnxlrp.distribute.job import Receipt
from onnxlrp.errors import DataError

__all__ = ["Folder"]

FORMAT = 1


@dataclass(frozen=True)
class Folder:
    """A folder with `run.json`, `manifest.jsonl`, `data/`, `done/`, at the end `failures.jsonl`.

    Attributes:
        path: Where it is.
    """

    path: Path

    @property
    def data(self) -> Path:
        """The results, a file or folder per shard."""
        return self.path / "data"

    @property
    def done(self) -> Path:
        """The receipts: a shard is done once it has one."""
        return self.path / "done"

    @property
    def partial(self) -> Path:
        """Results that are being written."""
        return self.path / ".partial"

    def make(self) -> None:
        """Make the folders.

        Raises:
            OSError: They cannot be made.
        """
        for folder in (self.path, self.data, self.done, self.partial):
            folder.mkdir(exist_ok=True)

    def begin(self, shards: Iterable[Shard], settings: Mapping[str, object]) -> None:
        """Write down all shards, then what the run is: from now on it can be resumed.

        Raises:
            DataError: There are no samples.
            OSError: The files cannot be written.
        """
        temporary = self.partial / f"manifest-{uuid.uuid4().hex}"
        counted, items = 0, 0
        with temporary.open("w", encoding="utf-8") as file:
            for shard in shards:
                counted, items = counted + 1, items + len(shard.items)
                entries = [[i.name, i.file, i.at, i.size, i.fault] for i in shard.items]
                first = shard.items[0].index
                line = {"shard": shard.number, "first": first, "items": entries}
                file.write(json.dumps(line) + "\n")
        if not items:
            raise DataError(
                "the data has no samples of a kind that is read: png, jpg, webp, tar, parquet, "
                "npz, nc, zarr or grib files"
            )
        temporary.replace(self.path / "manifest.jsonl")
        head = {"format": FORMAT, "shards": counted, "items": items, "settings": settings}
        self._write("run.json", json.dumps(head, indent=1) + "\n")

    def forget(self) -> None:
        """Let another run begin here, where nothing is done."""
        if not self.finished():
            (self.path / "run.json").unlink(missing_ok=True)

    def head(self) -> dict[str, object] | None:
        """Return what the run is; None: there is none.

        Raises:
            DataError: The file is damaged, or of another version.
        """
        path = self.path / "run.json"
        if not path.exists():
            return None
        try:
            found = json.loads(path.read_bytes())
            known = found["format"] == FORMAT and found["settings"] is not None
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"'{path}' is damaged: choose another folder") from error
        if not known:
            raise DataError(f"'{path}' is of another version: choose another folder")
        head: dict[str, object] = found
        return head

    def places(self, done: frozenset[int] = frozenset()) -> Iterator[tuple[int, int]]:
        """Yield number and place in the manifest of the shards that are not done."""
        at = 0
        with (self.path / "manifest.jsonl").open("rb") as file:
            for number, line in enumerate(file):
                if number not in done:
                    yield number, at
                at += len(line)

    def shard(self, number: int, at: int) -> Shard:
        """Read the shard at a place in the manifest.

        Raises:
            DataError: The manifest is damaged.
        """
        path = self.path / "manifest.jsonl"
        with path.open("rb") as file:
            file.seek(at)
            return _shard(file.readline(), number, path)

    def finished(self) -> frozenset[int]:
        """Return the numbers of the shards that are done."""
        names = (name for name in os.listdir(self.done) if name.endswith(".json"))
        return frozenset(int(name[6:-5]) for name in names if name[6:-5].isdecimal())

    def file(self, receipt: Receipt) -> None:
        """Write a receipt: the shard is done.

        Raises:
            OSError: It cannot be written.
        """
        self._write(f"done/{_receipt(receipt.shard)}", json.dumps(asdict(receipt)) + "\n")

    def receipts(self) -> Iterator[Receipt]:
        """Yield the receipts in the order of the shards.

        Raises:
            DataError: One is damaged.
        """
        for number in sorted(self.finished()):
            path = self.done / _receipt(number)
            try:
                entries = json.loads(path.read_bytes())
                failures = tuple((int(i), str(n), str(r)) for i, n, r in entries.pop("failures"))
                notes = tuple(map(str, entries.pop("notes", ())))
                yield Receipt(**entries, failures=failures, notes=notes)
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"'{path}' is damaged: remove it and pass --resume") from error

    def write_failures(self) -> int:
        """Gather the failures of all shards in `failures.jsonl`; return how many."""
        temporary, counted = self.partial / f"failures-{uuid.uuid4().hex}", 0
        with temporary.open("w", encoding="utf-8") as file:
            for receipt in self.receipts():
                for index, name, reason in receipt.failures:
                    line = {"index": index, "name": name, "reason": reason}
                    file.write(json.dumps(line) + "\n")
                    counted += 1
        temporary.replace(self.path / "failures.jsonl")
        return counted

    def _write(self, name: str, text: str) -> None:
        temporary = self.partial / f"text-{uuid.uuid4().hex}"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(self.path / name)


def _receipt(number: int) -> str:
    return f"shard-{number:06d}.json"


def _shard(line: bytes, number: int, path: Path) -> Shard:
    try:
        entries = json.loads(line)
        first = int(entries["first"])
        items = tuple(Item(first + k, *entry) for k, entry in enumerate(entries["items"]))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"'{path}', line {number + 1} is damaged: choose another folder") from error
    return Shard(number, items)
