"""Reads one sample of a data set: the input, and mask and boxes where they lie in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from onnxlrp.data.datasets.fields import fit_fields
from onnxlrp.data.datasets.listing import Box, Entry, Listing
from onnxlrp.data.fit import Fitted, Placement, fit
from onnxlrp.data.layout import Port
from onnxlrp.data.pictures import load_picture
from onnxlrp.data.preprocess import Preprocessing
from onnxlrp.errors import DataError

Pixels = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Item:
    """A sample that was read.

    Attributes:
        name: Its name.
        x: The input without a batch axis, in the layout and type of the model or the file.
        label: The true class.
        mask: What is to be found, bool `[H, W]` in the pixels of the input.
        boxes: The same as left, top, right, bottom; right and bottom exclusive.
        picture: The picture as the model sees it; None for arrays.
    """

    name: str
    x: npt.NDArray[np.generic]
    label: int | None
    mask: npt.NDArray[np.bool_] | None = None
    boxes: tuple[Pixels, ...] = ()
    picture: Image.Image | None = None


@dataclass(frozen=True, kw_only=True)
class ItemReader:
    """Reads samples for one input of a model.

    Attributes:
        listing: The data set.
        fitted: How pictures are prepared; None for arrays.
    """

    listing: Listing
    fitted: Fitted | None

    @classmethod
    def make(
        cls,
        listing: Listing,
        port: Port,
        preprocessing: Preprocessing | None = None,
        layout: str | None = None,
    ) -> "ItemReader":
        """Fit the preprocessing of pictures, or the shape of gridded fields, to the input.

        Raises:
            DataError: The input takes no such pictures, or fields of another grid.
        """
        if listing.arrays is not None:
            return cls(listing=fit_fields(listing, port, layout), fitted=None)
        return cls(listing=listing, fitted=fit(preprocessing, port, layout))

    def read(self, entry: Entry) -> Item:
        """Read a sample.

        Raises:
            DataError: It cannot be read.
        """
        if entry.picture is None:
            return self._read_row(entry)
        assert self.fitted is not None
        whole = load_picture(entry.picture)
        array, shown = self.fitted.apply(whole)
        size = (whole.height, whole.width)
        place = self.fitted.place(size)
        return Item(
            name=entry.name,
            x=array[0] if "N" in self.fitted.layout.axes else array,
            label=entry.label,
            mask=None if entry.mask is None else self._mask(entry, size, place),
            boxes=place_boxes(entry.boxes, size, place),
            picture=shown,
        )

    def _read_row(self, entry: Entry) -> Item:
        arrays = self.listing.arrays
        assert arrays is not None
        x = arrays.x.row(entry.row)
        mask = None
        if arrays.mask is not None:
            mask = arrays.mask.row(entry.row) != 0
            mask = mask.reshape([n for n in mask.shape if n != 1]) if mask.ndim > 2 else mask
        return Item(name=entry.name, x=x, label=entry.label, mask=mask)

    def _mask(self, entry: Entry, size: tuple[int, int], place: Placement) -> npt.NDArray[np.bool_]:
        assert entry.mask is not None
        mask = load_picture(entry.mask)
        if (mask.height, mask.width) != size:
            raise DataError(
                f"mask '{entry.mask}' has {mask.height}x{mask.width} pixels, its picture "
                f"{size[0]}x{size[1]}"
            )
        inside = np.asarray(mask).max(axis=2) >= self.listing.level
        return place_mask(inside, place)


def place_mask(inside: npt.NDArray[np.bool_], place: Placement) -> npt.NDArray[np.bool_]:
    """Carry a mask `[H, W]` to the pixels of the input, each from the nearest pixel."""
    height, width = place.resized
    resized = Image.fromarray(inside).resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(resized.crop(place.window), np.bool_)


def place_boxes(
    boxes: Sequence[Box], size: tuple[int, int], place: Placement
) -> tuple[Pixels, ...]:
    """Carry boxes to the pixels of the input; one that is cut away whole is left out."""
    left0, top0, right0, bottom0 = place.window
    sy, sx = place.resized[0] / size[0], place.resized[1] / size[1]
    found = []
    for left, top, right, bottom in boxes:
        box = (
            max(round(left * sx) - left0, 0),
            max(round(top * sy) - top0, 0),
            min(round(right * sx), right0) - left0,
            min(round(bottom * sy), bottom0) - top0,
        )
        if box[2] > box[0] and box[3] > box[1]:
            found.append(box)
    return tuple(found)
