"""The data of `audit` and `evaluate`, with the options of gridded fields."""

import argparse
import math
import re
from typing import Final

from onnxlrp.data import load_labels
from onnxlrp.data.datasets.fields import FieldSettings, is_gridded, list_fields
from onnxlrp.data.datasets.folders import list_data
from onnxlrp.data.datasets.listing import Listing, choose
from onnxlrp.data.grids.grid import NINO34, Region
from onnxlrp.errors import DataError, InputError

__all__ = ["NAMES", "add_fields", "field_settings", "field_words", "list_samples"]

NAMES: Final = ("variable", "climatology", "region", "threshold", "cap", "gaps", "west")
"""The options, as attributes; None where not given."""

_YEARS: Final = re.compile(r"(\d{1,4})-(\d{1,4})")
_DEGREES: Final = re.compile(r"([+-]?\d+(?:\.\d+)?)([NSEW]?)")
_KINDS: Final = ("NS", "NS", "EW", "EW")


def add_fields(parser: argparse.ArgumentParser) -> None:
    """Add the options of gridded fields."""
    group = parser.add_argument_group("gridded fields (NetCDF, Zarr, GRIB; extra `geo`)")
    group.add_argument("--variable", metavar="NAME", help="the variable, where there are several")
    group.add_argument(
        "--climatology",
        metavar="Y0-Y1",
        help="subtract the mean of each calendar month over these years (values as they are)",
    )
    group.add_argument(
        "--region",
        metavar="S,N,W,E",
        help="nino34 or a box as 5S,5N,170W,120W: classes by its mean over its standard deviation",
    )
    group.add_argument(
        "--threshold",
        metavar="T",
        type=float,
        help="class 1 above T, class 0 (-1 for one score) below -T, the rest is left out (0.5)",
    )
    group.add_argument(
        "--cap", metavar="C", type=float, help="cut at +-C and divide by C; 0: neither (5)"
    )
    group.add_argument(
        "--gaps",
        choices=("zero", "drop"),
        help="land and gaps are 0 (zero, the default), or left out: vectors [N, P]",
    )
    group.add_argument(
        "--west", metavar="LON", type=float, help="turn the globe: the first column is here"
    )


def field_words(options: argparse.Namespace) -> list[str]:
    """Return the options that were given, as words of a command."""
    words = []
    for name in NAMES:
        value = getattr(options, name)
        if value is not None:
            text = str(value)
            words += [f"--{name}={text}"] if text.startswith("-") else [f"--{name}", text]
    return words


def field_settings(options: argparse.Namespace) -> FieldSettings:
    """Read the options.

    Raises:
        InputError: One that cannot be read, or a threshold without a region.
    """
    if options.threshold is not None and options.region is None:
        raise InputError("--threshold needs --region, whose index it is compared with")
    if options.west is not None and not math.isfinite(options.west):
        raise InputError(f"--west must be a longitude, got {options.west}")
    cap = 5.0 if options.cap is None else options.cap
    return FieldSettings(
        variable=options.variable,
        climatology=_years(options.climatology),
        region=_region(options.region),
        threshold=0.5 if options.threshold is None else options.threshold,
        cap=None if cap == 0 else cap,
        gaps=options.gaps or "zero",
        west=options.west,
    )


def list_samples(options: argparse.Namespace, signed: bool = False) -> Listing:
    """List DATA, and the part of it that the options choose.

    Args:
        options: data, labels, label_file, limit, per_class, shuffle and those of fields.
        signed: Fields are labelled 1 and -1, the sign of one score; else 1 and 0.

    Raises:
        InputError: An option of fields that cannot be read, or for other data.
        DataError: The data cannot be read.
    """
    labels = load_labels(options.labels) if options.labels else ()
    if is_gridded(options.data):
        if options.label_file is not None:
            raise DataError("--label-file is for a folder of pictures; --region labels fields")
        listing = list_fields(options.data, field_settings(options), signed)
    else:
        given = field_words(options)
        if given:
            name = given[0].partition("=")[0]
            raise InputError(
                f"{name} is for gridded fields (.nc, .zarr, .grib), not {options.data}"
            )
        listing = list_data(options.data, labels, options.label_file)
    return choose(listing, options.limit, options.per_class, options.shuffle)


def _years(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = _YEARS.fullmatch(text.strip())
    if found is None or int(found[1]) > int(found[2]):
        raise InputError(f"--climatology expects years such as 1980-2009, got '{text}'")
    return int(found[1]), int(found[2])


def _region(text: str | None) -> Region | None:
    if text is None or text.lower() == "nino34":
        return None if text is None else NINO34
    parts = text.split(",")
    edges = [_degrees(part, kind) for part, kind in zip(parts, _KINDS, strict=False)]
    known = [edge for edge in edges if edge is not None]
    if len(parts) != 4 or len(known) != 4:
        raise InputError(
            "--region expects nino34 or south,north,west,east such as 5S,5N,170W,120W or "
            f"--region=-5,5,190,240, got '{text}'"
        )
    return Region(south=known[0], north=known[1], west=known[2], east=known[3], name=text)


def _degrees(text: str, kind: str) -> float | None:
    """A latitude (kind NS) or longitude (EW); None where the text is neither."""
    found = _DEGREES.fullmatch(text.strip().upper())
    if found is None or found[2] not in ("", *kind):
        return None
    degrees = float(found[1])
    return -degrees if found[2] in ("S", "W") else degrees
