import numpy as np
import pytest
from PIL import Image

from onnxlrp.data.datasets.folders import list_data
from onnxlrp.data.datasets.items import ItemReader
from onnxlrp.data.datasets.listing import choose, unique
from onnxlrp.data.preprocess import Preprocessing
from onnxlrp.errors import DataError
from tests.data.ports import port

LABELS = ("cat", "black dog", "n01440764 tench, Tinca tinca")


def picture(path, size=(20, 30), colour=(200, 30, 60)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def labels_of(listing):
    return {entry.name: entry.label for entry in listing.entries}


def test_a_folder_of_pictures(tmp_path):
    for name in ("b.png", "a.jpg", ".hidden.png"):
        picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    listing = list_data(str(tmp_path))
    assert labels_of(listing) == {"a.jpg": None, "b.png": None}
    assert not listing.labelled
    assert not listing.masked


def test_folders_in_sorted_order(tmp_path):
    for name in ("zebra/1.png", "ant/2.png", "ant/1.png"):
        picture(tmp_path / name)
    (tmp_path / "empty").mkdir()
    listing = list_data(str(tmp_path))
    assert labels_of(listing) == {"ant/1.png": 0, "ant/2.png": 0, "zebra/1.png": 1}
    assert listing.classes == 2
    assert "sorted order" in listing.notes[0]


def test_folders_named_by_labels(tmp_path):
    for name in ("Black_dog/1.png", "n01440764/2.png"):
        picture(tmp_path / name)
    listing = list_data(str(tmp_path), LABELS)
    assert labels_of(listing) == {"Black_dog/1.png": 1, "n01440764/2.png": 2}
    assert listing.classes is None


def test_folders_named_by_indices(tmp_path):
    for name in ("10/1.png", "9/1.png"):
        picture(tmp_path / name)
    assert labels_of(list_data(str(tmp_path))) == {"10/1.png": 10, "9/1.png": 9}


def test_a_folder_that_is_no_label(tmp_path):
    for name in ("cat/1.png", "cow/1.png"):
        picture(tmp_path / name)
    with pytest.raises(DataError, match="folder 'cow' is no class of the labels file"):
        list_data(str(tmp_path), LABELS)


LABEL_FILES = [
    ("0\n2\n", {"a.png": 0, "b.png": 2}),
    ("b.png 1\na.png 0\nother.png 7\n", {"a.png": 0, "b.png": 1}),
    ("b 1\na 0\n", {"a.png": 0, "b.png": 1}),
    ("a.png,black dog\nb.png,cat\n", {"a.png": 1, "b.png": 0}),
    ("n01440764\ncat\n", {"a.png": 2, "b.png": 0}),
    ("b.png 1\n", {"a.png": None, "b.png": 1}),
]


@pytest.mark.parametrize(("text", "wanted"), LABEL_FILES)
def test_label_files(tmp_path, text, wanted):
    for name in ("a.png", "b.png"):
        picture(tmp_path / "pictures" / name)
    file = tmp_path / "labels.txt"
    file.write_text(text)
    assert labels_of(list_data(str(tmp_path / "pictures"), LABELS, str(file))) == wanted


def test_synsets_without_labels_are_numbered_in_sorted_order(tmp_path):
    for name in ("a.png", "b.png"):
        picture(tmp_path / "pictures" / name)
    file = tmp_path / "val.txt"
    file.write_text("a.png n02000000\nb.png n01000000\nc.png n03000000\n")
    listing = list_data(str(tmp_path / "pictures"), (), str(file))
    assert labels_of(listing) == {"a.png": 1, "b.png": 0}
    assert listing.classes == 3


BAD_LABEL_FILES = [
    ("0\n", "1 labels for 2 pictures"),
    ("c.png 1\n", "names none of the pictures"),
    ("a.png cow\nb.png cat\n", "label 'cow' of 'a.png' is no class of the labels file"),
    ("a.png 1\nb.png\n", "line 2: expected a picture and its class"),
]


@pytest.mark.parametrize(("text", "message"), BAD_LABEL_FILES)
def test_bad_label_files(tmp_path, text, message):
    for name in ("a.png", "b.png"):
        picture(tmp_path / "pictures" / name)
    file = tmp_path / "labels.txt"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        list_data(str(tmp_path / "pictures"), LABELS, str(file))


def test_images_csv(tmp_path):
    for name in ("a.png", "sub/b.png", "m.png"):
        picture(tmp_path / name)
    (tmp_path / "images.csv").write_text(
        "file,label,mask,box\na.png,black dog,m.png,1 2 3 4; 5 6 7.5 8\nsub/b.png,0,,\na.png,,,\n"
    )
    listing = list_data(str(tmp_path), LABELS)
    first, second, third = listing.entries
    assert (first.label, second.label, third.label) == (1, 0, None)
    assert first.boxes == ((1, 2, 3, 4), (5, 6, 7.5, 8))
    assert first.mask == tmp_path / "m.png"
    assert third.name == "a.png#2"
    assert listing.labelled
    assert listing.masked
    assert listing.boxed
    assert list_data(str(tmp_path / "images.csv"), LABELS) == listing


BAD_CSV = [
    ("name,label\na.png,1\n", "its first line names the columns name, label"),
    ("file,colour\na.png,red\n", "known are file, label, mask, box"),
    ("file,label\na.png\n", "line 2: 1 entries instead of 2"),
    ("file,label\na.png,0\nb.png,cow\n", "line 3: label 'cow' is no class"),
    ("file,box\na.png,1 2 3\n", "line 2: box '1 2 3' is not 'left top right bottom'"),
    ("file,box\na.png,5 2 3 4\n", "line 2: box '5 2 3 4' is empty"),
    ("file,box\na.png,1 2 nan 4\n", "is empty"),
    ("file,label\n,1\n", "line 2: no file is named"),
    ("file\n", "has no samples"),
    ("", "is empty"),
]


@pytest.mark.parametrize(("text", "message"), BAD_CSV)
def test_bad_csv(tmp_path, text, message):
    (tmp_path / "images.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        list_data(str(tmp_path), LABELS)


def test_a_name_needs_labels(tmp_path):
    (tmp_path / "images.csv").write_text("file,label\na.png,cow\n")
    with pytest.raises(DataError, match="label 'cow' needs --labels, or an index"):
        list_data(str(tmp_path))


def cub(folder):
    rows = {"images": [], "image_class_labels": [], "bounding_boxes": [], "train_test_split": []}
    for key, (name, label, test) in enumerate(
        [("002.B/x.jpg", 2, 0), ("001.A/y.jpg", 1, 1), ("001.A/z.jpg", 1, 0)], 1
    ):
        picture(folder / "images" / name)
        rows["images"].append(f"{key} {name}")
        rows["image_class_labels"].append(f"{key} {label}")
        rows["bounding_boxes"].append(f"{key} 2.0 3.0 10.0 20.0")
        rows["train_test_split"].append(f"{key} {test}")
    for name, lines in rows.items():
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


def test_cub(tmp_path):
    folder = cub(tmp_path / "CUB_200_2011")
    listing = list_data(str(folder))
    assert labels_of(listing) == {"001.A/z.jpg": 0, "002.B/x.jpg": 1}
    assert listing.entries[0].boxes == ((2, 3, 12, 23),)
    assert not listing.masked
    picture(tmp_path / "segmentations" / "001.A" / "z.png")
    assert list_data(str(folder)).entries[0].mask == tmp_path / "segmentations/001.A/z.png"
    (folder / "train_test_split.txt").unlink()
    assert len(list_data(str(folder)).entries) == 3


def test_masks_of_cub_count_annotators(tmp_path):
    folder = cub(tmp_path)
    for name in ("001.A/z.png", "002.B/x.png"):
        grey = np.zeros((30, 20), np.uint8)
        grey[:, 10:], grey[:, 5:10] = 204, 51
        (folder / "segmentations" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grey).save(folder / "segmentations" / name)
    reader = ItemReader.make(list_data(str(folder)), port("N", 3, 30, 20))
    mask = reader.read(reader.listing.entries[0]).mask
    np.testing.assert_array_equal(mask.any(axis=0), np.arange(20) >= 10)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1", "line 1: expected 2 entries"),
        ("1 a", "'a' is no class, which count from 1"),
        ("9 1", "has no label for picture 1"),
    ],
)
def test_bad_cub(tmp_path, line, message):
    folder = cub(tmp_path)
    (folder / "image_class_labels.txt").write_text(line + "\n")
    with pytest.raises(DataError, match=message):
        list_data(str(folder))


def test_one_array_of_any_name(tmp_path):
    np.savez(tmp_path / "d.npz", **{"input|1": np.ones((2, 3)), "y": np.arange(2)})
    assert len(list_data(str(tmp_path / "d.npz")).entries) == 2


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_rows_of_arrays(tmp_path, save):
    x = np.random.default_rng(0).normal(size=(7, 3, 5, 4)).astype(np.float32)
    y, mask = np.arange(7), x[:, 0] > 0
    save(tmp_path / "d.npz", x=x, y=y, mask=mask)
    listing = list_data(str(tmp_path / "d.npz"))
    assert [entry.label for entry in listing.entries] == list(range(7))
    reader = ItemReader.make(listing, port("N", 3, 16, 16))
    for row in (2, 5, 0, 6, 6):
        item = reader.read(listing.entries[row])
        np.testing.assert_array_equal(item.x, x[row])
        np.testing.assert_array_equal(item.mask, mask[row])


BAD_ARRAYS = [
    ({"a": np.ones((2, 3)), "b": np.ones(2)}, r"has no array 'x' \(it has a, b\)"),
    ({"x": np.ones((2, 3)), "y": np.arange(3)}, "x has 2 samples, y has 3"),
    ({"x": np.ones((2, 3)), "y": np.ones(2)}, "one class index per sample, not float64"),
    ({"x": np.ones((2, 3)), "mask": np.ones((1, 3))}, "x has 2 samples, mask has 1"),
    ({"x": np.float32(1)}, "an axis of samples"),
    ({"x": np.ones((0, 3))}, "has no samples"),
    ({"x": np.asfortranarray(np.ones((2, 3)))}, "in C order"),
]


@pytest.mark.parametrize(("arrays", "message"), BAD_ARRAYS)
def test_bad_arrays(tmp_path, arrays, message):
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(DataError, match=message):
        list_data(str(tmp_path / "d.npz"))


def test_damaged_arrays(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.ones((4, 1000)))
    whole = (tmp_path / "d.npz").read_bytes()
    (tmp_path / "d.npz").write_bytes(whole[:2000])
    with pytest.raises(DataError, match=r"cannot read '.*d.npz'"):
        list_data(str(tmp_path / "d.npz"))


def test_nothing_there(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("x")
    for name, message in (
        ("none", "there is no file or folder"),
        ("empty", "has no pictures"),
        ("a.txt", "as a data set"),
    ):
        with pytest.raises(DataError, match=message):
            list_data(str(tmp_path / name))


def test_label_file_is_for_pictures(tmp_path):
    picture(tmp_path / "cat" / "a.png")
    with pytest.raises(DataError, match="--label-file is for a folder of pictures"):
        list_data(str(tmp_path), (), "labels.txt")


def many(tmp_path):
    for k in range(12):
        picture(tmp_path / f"{k % 3}" / f"{k:02d}.png", (4, 4))
    return list_data(str(tmp_path))


def test_choose(tmp_path):
    whole = many(tmp_path)
    first = [entry.name for entry in choose(whole, limit=3).entries]
    assert first == ["0/00.png", "0/03.png", "0/06.png"]
    two = choose(whole, per_class=2)
    assert [entry.label for entry in two.entries] == [0, 0, 1, 1, 2, 2]
    some = choose(whole, limit=5, shuffle=1)
    assert len(some.entries) == 5
    assert some == choose(whole, limit=5, shuffle=1)
    assert some != choose(whole, limit=5, shuffle=2)
    assert [e for e in whole.entries if e in some.entries] == list(some.entries)
    assert choose(whole, shuffle=1) == whole
    assert whole.digest() != some.digest()


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"limit": 0}, "--limit must be at least 1"),
        ({"per_class": 0}, "--per-class must be at least 1"),
        ({"shuffle": -1}, "--shuffle takes a seed"),
    ],
)
def test_bad_choices(tmp_path, keywords, message):
    with pytest.raises(DataError, match=message):
        choose(many(tmp_path), **keywords)


def test_per_class_needs_labels(tmp_path):
    picture(tmp_path / "a.png")
    with pytest.raises(DataError, match="--per-class needs labels"):
        choose(list_data(str(tmp_path)), per_class=1)


def test_unique():
    assert unique(["a", "b", "a", "a"]) == ["a", "b", "a#2", "a#3"]


PLACES = [
    (None, (40, 40), (16, 16)),
    (Preprocessing(size=24, crop=16), (60, 40), (16, 16)),
    (Preprocessing(size=(20, 30), crop=16), (50, 75), (16, 16)),
    (Preprocessing(size=20), (40, 60), (None, None)),
    (Preprocessing(size=(60, 24), crop=(48, 20)), (40, 60), (48, 20)),
]


@pytest.mark.parametrize(("steps", "size", "shape"), PLACES)
def test_masks_and_boxes_lie_where_the_picture_does(tmp_path, steps, size, shape):
    """A white rectangle is found again at its box and in its mask, resized and cropped alike."""
    left, top, right, bottom = 16, 12, 31, 29
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[top:bottom, left:right] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(pixels // 255).save(tmp_path / "m.png")
    (tmp_path / "images.csv").write_text(
        f"file,mask,box\na.png,m.png,{left} {top} {right} {bottom}\n"
    )
    listing = list_data(str(tmp_path))
    reader = ItemReader.make(listing, port("N", 3, *shape), steps)
    item = reader.read(listing.entries[0])
    bright = np.asarray(item.picture)[:, :, 0] >= 128
    assert item.mask.shape == bright.shape
    assert (item.mask != bright).mean() < 0.05
    v, u = np.nonzero(bright)
    seen = (u.min(), v.min(), u.max() + 1, v.max() + 1)
    assert np.abs(np.subtract(item.boxes[0], seen)).max() <= 1


def test_a_box_that_is_cut_away(tmp_path):
    picture(tmp_path / "a.png", (40, 20))
    (tmp_path / "images.csv").write_text("file,box\na.png,0 0 3 3; 15 5 25 15\n")
    listing = list_data(str(tmp_path))
    reader = ItemReader.make(listing, port("N", 3, 20, 20))
    assert reader.read(listing.entries[0]).boxes == ((5, 5, 15, 15),)


def test_a_mask_of_another_size(tmp_path):
    picture(tmp_path / "a.png", (20, 30))
    picture(tmp_path / "m.png", (20, 20))
    (tmp_path / "images.csv").write_text("file,mask\na.png,m.png\n")
    listing = list_data(str(tmp_path))
    with pytest.raises(DataError, match="has 20x20 pixels, its picture 30x20"):
        ItemReader.make(listing, port("N", 3, 16, 16)).read(listing.entries[0])
