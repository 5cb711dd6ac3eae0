import numpy as np

from models import shapes


def test_shapes_dtypes_and_range() -> None:
    x, y, mask = shapes.make(12, seed=0)
    assert (x.shape, y.shape, mask.shape) == ((12, 3, 64, 64), (12,), (12, 64, 64))
    assert (x.dtype, y.dtype, mask.dtype) == (np.float32, np.int64, np.bool_)
    assert 0 <= x.min() < x.max() <= 1
    assert np.array_equal(np.bincount(y), [2] * len(shapes.LABELS))


def test_a_picture_depends_on_seed_and_index_alone() -> None:
    few, many, other = (shapes.make(n, seed)[0] for n, seed in ((3, 5), (6, 5), (3, 6)))
    assert np.array_equal(few, many[:3])
    assert not np.array_equal(few, other)


def test_evidence_covers_a_moderate_part_inside_the_picture() -> None:
    _, _, mask = shapes.make(60, seed=1)
    share = mask.mean((1, 2))
    assert 0.02 < share.min() < share.max() < 0.25
    assert not mask[:, [0, -1]].any()
    assert not mask[:, :, [0, -1]].any()


def test_outside_the_evidence_the_class_leaves_no_trace() -> None:
    x, mask = zip(*(shapes.draw(k, np.random.default_rng(7)) for k in (0, 1)), strict=True)
    edge = np.zeros((64, 64), np.bool_)
    for m in mask:
        padded = np.pad(m, 1)
        for dv in range(3):
            for du in range(3):
                edge |= padded[dv : dv + 64, du : du + 64]
    assert np.array_equal(x[0][:, ~edge], x[1][:, ~edge])


def test_a_larger_drawing_shows_the_same_scene() -> None:
    (small, _), (large, _) = (shapes.draw(2, np.random.default_rng(3), size) for size in (64, 256))
    shrunk = large.reshape(3, 64, 4, 64, 4).mean((2, 4))
    assert np.abs(shrunk - small).mean() < 0.01
