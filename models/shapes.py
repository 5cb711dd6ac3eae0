"""A synthetic picture task whose true evidence is known per pixel.

Every picture shows one shape of six on a textured background, among coloured strokes, arcs and
dots that never form one of the six. Colour says nothing about the class. The evidence is the set
of pixels that the shape covers. All lengths are in units of a 64 x 64 scene, so that the same
scene can be drawn at any size.
"""

import colorsys
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

LABELS = ("circle", "square", "triangle", "cross", "ring", "star")
SCENE = 64

Array = NDArray[np.float64]
Distance = Callable[[Array, Array], Array]


def make(
    n: int, seed: int, size: int = SCENE
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
    """Draw `n` pictures: x `[n, 3, size, size]` in [0, 1], y `[n]`, mask `[n, size, size]`.

    Picture `i` depends on `seed` and `i` alone; classes take turns.
    """
    x = np.empty((n, 3, size, size), np.float32)
    y = np.arange(n, dtype=np.int64) % len(LABELS)
    mask = np.empty((n, size, size), np.bool_)
    for i in range(n):
        x[i], mask[i] = draw(int(y[i]), np.random.default_rng([seed, i]), size)
    return x, y, mask


def draw(
    label: int, rng: Generator, size: int = SCENE
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Draw one picture `[3, size, size]` of class `label` and its mask `[size, size]`."""
    axis = (np.arange(size) + 0.5) * (SCENE / size)
    v, u = np.meshgrid(axis, axis, indexing="ij")
    picture = _background(rng, u, v)
    for _ in range(rng.integers(5, 9)):
        distance = _distractor(rng)(u, v)
        picture = _paint(picture, distance, _colour(rng), SCENE / size)
    distance = _shape(label, rng)(u, v)
    light = _colour(rng)[:, None, None] * _shading(rng, u, v)
    picture = _paint(picture, distance, light, SCENE / size)
    return np.clip(picture, 0, 1).astype(np.float32), distance <= 0


def _background(rng: Generator, u: Array, v: Array) -> Array:
    first, second = (_colour(rng, saturation=0.3, value=rng.uniform(0.15, 0.7)) for _ in "ab")
    blend = sum(_noise(rng, u, v, cells) / cells for cells in (2, 4, 8)) / 0.875
    grain = _noise(rng, u, v, 32)
    mixed = first[:, None, None] * blend + second[:, None, None] * (1 - blend)
    return mixed + 0.12 * (grain - 0.5)


def _noise(rng: Generator, u: Array, v: Array, cells: int) -> Array:
    """Return smooth noise in [0, 1]: random values on a grid, interpolated."""
    grid = rng.random((cells + 1, cells + 1))
    i, du = _cell(u, cells)
    j, dv = _cell(v, cells)
    top = grid[j, i] * (1 - du) + grid[j, i + 1] * du
    bottom = grid[j + 1, i] * (1 - du) + grid[j + 1, i + 1] * du
    return top * (1 - dv) + bottom * dv


def _cell(t: Array, cells: int) -> tuple[NDArray[np.int64], Array]:
    scaled = t * (cells / SCENE)
    index = np.minimum(scaled.astype(np.int64), cells - 1)
    part = scaled - index
    return index, part * part * (3 - 2 * part)


def _colour(rng: Generator, saturation: float | None = None, value: float | None = None) -> Array:
    saturation = rng.uniform(0.55, 0.95) if saturation is None else saturation
    value = rng.uniform(0.75, 1.0) if value is None else value
    return np.array(colorsys.hsv_to_rgb(rng.random(), saturation, value))


def _shading(rng: Generator, u: Array, v: Array) -> Array:
    angle = rng.uniform(0, 2 * np.pi)
    along, _ = _turned(u - SCENE / 2, v - SCENE / 2, angle)
    return 0.9 + 0.25 * along / (SCENE / 2)


def _paint(picture: Array, distance: Array, colour: Array, pixel: float) -> Array:
    """Lay `colour` over the pixels inside, edges smoothed over one pixel."""
    cover = np.clip(0.5 - distance / pixel, 0, 1)
    colour = colour[:, None, None] if colour.ndim == 1 else colour
    return picture * (1 - cover) + colour * cover


def _shape(label: int, rng: Generator) -> Distance:
    radius = rng.uniform(10, 16)
    u0, v0 = rng.uniform(radius + 2, SCENE - radius - 2, 2)
    angle = rng.uniform(0, 2 * np.pi)
    form = (_circle, _square, _triangle, _cross, _ring, _star)[label]

    def distance(u: Array, v: Array) -> Array:
        a, b = _turned(u - u0, v - v0, angle)
        return radius * form(a / radius, b / radius)

    return distance


def _turned(u: Array, v: Array, angle: float) -> tuple[Array, Array]:
    c, s = np.cos(angle), np.sin(angle)
    return c * u + s * v, c * v - s * u


def _circle(a: Array, b: Array) -> Array:
    return np.hypot(a, b) - 0.95


def _square(a: Array, b: Array) -> Array:
    return np.maximum(np.abs(a), np.abs(b)) - 0.8


def _triangle(a: Array, b: Array) -> Array:
    return _polygon(a, b, 3) - 0.55


def _cross(a: Array, b: Array) -> Array:
    near, far = np.minimum(np.abs(a), np.abs(b)), np.maximum(np.abs(a), np.abs(b))
    return np.maximum(near - 0.3, far - 1.0)


def _ring(a: Array, b: Array) -> Array:
    return np.abs(np.hypot(a, b) - 0.78) - 0.2


def _star(a: Array, b: Array) -> Array:
    """Return the distance to a five-pointed star: to an edge between a notch and a point."""
    turn = 2 * np.pi / 5
    angle = np.mod(np.arctan2(b, a), turn) - turn / 2
    r = np.hypot(a, b)
    point, notch = np.array([np.cos(turn / 2), np.sin(turn / 2)]), np.array([0.45, 0.0])
    edge = (point - notch) / np.hypot(*(point - notch))
    ahead, aside = r * np.cos(angle) - notch[0], r * np.abs(np.sin(angle))
    distance: Array = edge[1] * ahead - edge[0] * aside
    return distance


def _polygon(a: Array, b: Array, corners: int) -> Array:
    turns = 2 * np.pi * np.arange(corners) / corners
    distance: Array = np.max([a * np.cos(t) + b * np.sin(t) for t in turns], axis=0)
    return distance


def _distractor(rng: Generator) -> Distance:
    u0, v0 = rng.uniform(0, SCENE, 2)
    angle = rng.uniform(0, 2 * np.pi)
    kind = rng.integers(3)
    if kind == 0:
        return _dot(u0, v0, rng.uniform(1.5, 3))
    width, length = rng.uniform(0.8, 1.6), rng.uniform(6, 14)
    if kind == 1:
        return _stroke(u0, v0, angle, width, length)
    return _arc(u0, v0, angle, width, length)


def _dot(u0: float, v0: float, radius: float) -> Distance:
    return lambda u, v: np.hypot(u - u0, v - v0) - radius


def _stroke(u0: float, v0: float, angle: float, width: float, length: float) -> Distance:
    def distance(u: Array, v: Array) -> Array:
        a, b = _turned(u - u0, v - v0, angle)
        return np.hypot(a - np.clip(a, -length, length), b) - width

    return distance


def _arc(u0: float, v0: float, angle: float, width: float, radius: float) -> Distance:
    """Return the distance to a sixth of a ring's outline."""

    def distance(u: Array, v: Array) -> Array:
        a, b = _turned(u - u0, v - v0, angle)
        outline = np.abs(np.hypot(a, b) - radius) - width
        return np.maximum(outline, np.abs(b) - 0.6 * a)

    return distance
