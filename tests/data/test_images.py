"""Folders of images, in memory and read lazily."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from refused import refused
from stories import RNG

from pyro_vae.data import LazyRows, batches, load
from pyro_vae.data.readers import images
from pyro_vae.data.rows import read_all


def _save(path: Path, array: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def _grey(number: int, size: tuple[int, int] = (4, 6)) -> Any:
    image = RNG.integers(0, 256, size, dtype=np.uint8)
    image[0, 0] = number  # tells the images apart
    return image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty grey images of two classes, the first pixel of each its number."""
    for number in range(20):
        _save(tmp_path / "set" / ("even", "odd")[number % 2] / f"{number}.png", _grey(number))
    return tmp_path / "set"


def test_pixels_and_classes(folder: Path) -> None:
    data = load(str(folder))
    assert data.event_shape == (1, 4, 6)
    assert [len(s) for s in data.splits.values()] == [16, 2, 2]
    assert data.train.class_names == ("even", "odd")
    numbers = []
    for split in data.splits.values():
        assert isinstance(split.x, torch.Tensor)
        assert split.x.dtype == torch.uint8
        assert split.labels is not None
        assert torch.equal(split.labels, split.x[:, 0, 0, 0].long() % 2)
        for row in split.x:
            number = int(row[0, 0, 0])
            numbers.append(number)
            path = folder / ("even", "odd")[number % 2] / f"{number}.png"
            assert np.array_equal(row[0], np.asarray(Image.open(path)))
    assert sorted(numbers) == list(range(20))


def test_splits_of_its_own(tmp_path: Path) -> None:
    for number in range(12):
        split = "train" if number < 6 else "val" if number < 9 else "test"
        _save(tmp_path / split / "ab"[number % 2] / f"{number:02}.png", _grey(number))
    data = load(str(tmp_path))
    first = [sorted(read_all(s.x)[:, 0, 0, 0].tolist()) for s in data.splits.values()]
    assert first == [[*range(6)], [6, 7, 8], [9, 10, 11]]
    for part in data.splits.values():
        assert part.labels is not None
        assert torch.equal(part.labels, read_all(part.x)[:, 0, 0, 0] % 2)


def test_colours_black_and_white_and_no_classes(tmp_path: Path) -> None:
    for number in range(5):
        _save(
            tmp_path / "colour" / f"{number}.png", RNG.integers(0, 256, (3, 5, 3), dtype=np.uint8)
        )
        _save(tmp_path / "bw" / f"{number}.png", RNG.integers(0, 2, (3, 5)).astype(bool))
    assert load(str(tmp_path / "colour")).event_shape == (3, 3, 5)
    data = load(str(tmp_path / "bw"))
    assert data.values.levels == 2
    assert read_all(data.train.x).max() == 1
    assert data.train.labels is None


def test_image_size_covers_and_cuts_about_the_centre(tmp_path: Path) -> None:
    for number in range(3):
        stripes = np.zeros((8, 16), dtype=np.uint8)
        stripes[:, 4:12] = 200  # the middle square is white, what lies beside it black
        _save(tmp_path / f"{number}.png", stripes)
    data = load(str(tmp_path), image_size=4)
    assert data.event_shape == (1, 4, 4)
    assert (read_all(data.train.x)[:, :, :, 1:3] == 200).all()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"image_size": 3},
        {"binarize": "threshold"},
        {"binarize": "fixed", "seed": 3},
        {"binarize": "stochastic"},
        {"standardize": True},
        {"validation": 5},
    ],
)
def test_lazy_rows_are_the_same_rows(
    folder: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = load(str(folder), **options)
    monkeypatch.setattr(images, "IN_MEMORY_BYTES", 0)
    lazy = load(str(folder), **options)
    assert lazy.values == held.values
    assert lazy.describe() == held.describe()
    for name, split in lazy.splits.items():
        assert isinstance(split.x, LazyRows)
        order = torch.randperm(len(split))
        one, other = (
            batches(s, columns=2, max_resident_bytes=m)
            for s, m in ((split, 0), (held.splits[name], None))
        )
        assert "streamed" in one.description
        assert "held on cpu" in other.description
        assert "held on cpu" in batches(split).description  # small enough to be read whole
        for seed in range(2):
            torch.manual_seed(seed)
            left = list(one.take(order, 3))
            torch.manual_seed(seed)
            right = list(other.take(order, 3))
            assert len(left) == len(right)
            for (x, y), (x_held, y_held) in zip(left, right, strict=True):
                assert torch.equal(x, x_held)
                assert torch.equal(y, y_held)
        part = split.subset(order[:1])
        assert isinstance(part.x, LazyRows)
        torch.manual_seed(0)
        few = part.read()
        torch.manual_seed(0)
        assert torch.equal(few, held.splits[name].subset(order[:1]).read())
        assert split.fingerprint == load(str(folder), **options).splits[name].fingerprint
        assert split.fingerprint != part.fingerprint


def test_a_lazy_image_that_breaks_later_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "IN_MEMORY_BYTES", 0)
    data = load(str(folder))
    path = folder / "even" / "4.png"
    path.write_bytes(path.read_bytes()[:40])
    rows = [batches(s, max_resident_bytes=0) for s in data.splits.values()]
    taken = itertools.chain(*(r.take(torch.arange(r.num_units), 4) for r in rows))
    with refused(str(path), expected="an image"):
        list(taken)


def test_folders_that_do_not_fit(folder: Path, tmp_path: Path) -> None:
    def fails(subject: object, text: str = "", path: Path = folder, **options: Any) -> None:
        with refused(str(subject)) as caught:
            load(str(path), **options)
        assert text in str(caught.value)

    (tmp_path / "empty").mkdir()
    fails(tmp_path / "empty", ".png", tmp_path / "empty")
    (folder / ".hidden.png").write_text("passed over")
    fails("label", "tables and archives", label="y")
    fails("image_size", "64", image_size=0)
    assert len(load(str(folder)).train) == 16

    big, deep, text = (folder / "even" / name for name in ("big.png", "deep.png", "text.png"))
    _save(big, _grey(1, (9, 9)))
    said = "the images have sizes from 6x4 to 9x9 and are brought to 4x4 (--image_size)"
    assert said in load(str(folder)).describe()
    assert load(str(folder)).event_shape == (1, 4, 4)
    assert load(str(folder), image_size=4).event_shape == (1, 4, 4)
    big.unlink()
    _save(deep, np.zeros((4, 6), dtype=np.uint16))
    fails(deep, "8 bits")
    deep.unlink()
    text.write_text("no image")
    fails(text, "an image")
    text.unlink()
    cut = folder / "odd" / "1.png"
    cut.write_bytes(cut.read_bytes()[:50])
    fails(cut, "an image")
    cut.unlink()
    _save(folder / "stray.png", _grey(1))
    fails(folder / "stray.png", "even, odd")
    _save(tmp_path / "alone" / "train" / "0.png", _grey(1))
    fails(tmp_path / "alone", "no folder test", tmp_path / "alone")
    _save(tmp_path / "alone" / "Testing" / "0.png", _grey(1))
    _save(tmp_path / "alone" / "test" / "0.png", _grey(1))
    fails(tmp_path / "alone", "Testing and test", tmp_path / "alone")
    _save(tmp_path / "more" / "train" / "0.png", _grey(1))
    _save(tmp_path / "more" / "test" / "0.png", _grey(1))
    _save(tmp_path / "more" / "cats" / "0.png", _grey(1))
    fails(tmp_path / "more", "Move cats away", tmp_path / "more")
    _save(tmp_path / "half" / "test" / "0.png", _grey(1))
    fails(tmp_path / "half", "no folder train", tmp_path / "half")


def test_names_of_splits_in_large_letters_and_in_full(tmp_path: Path) -> None:
    for number in range(12):
        split = "Training" if number < 6 else "Validation" if number < 9 else "Testing"
        _save(tmp_path / split / "ab"[number % 2] / f"{number:02}.png", _grey(number))
    data = load(str(tmp_path))
    first = [sorted(read_all(s.x)[:, 0, 0, 0].tolist()) for s in data.splits.values()]
    assert first == [[*range(6)], [6, 7, 8], [9, 10, 11]]
    assert data.train.class_names == ("a", "b")


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for number in range(12):
        _save(tmp_path / ("bus", "car", "train")[number % 3] / f"{number}.png", _grey(number))
    assert load(str(tmp_path)).train.class_names == ("bus", "car", "train")


def test_what_programs_leave_behind_is_passed_over(folder: Path) -> None:
    for name in (".ipynb_checkpoints/1.png", "__MACOSX/2.png", "even/.ipynb_checkpoints/3.png"):
        _save(folder / name, _grey(99))
    for name in ("even/._0.png", "Thumbs.db", ".DS_Store", "odd/Thumbs.db"):
        (folder / name).write_bytes(b"no image")
    data = load(str(folder))
    assert data.train.class_names == ("even", "odd")
    numbers = [int(n) for s in data.splits.values() for n in read_all(s.x)[:, 0, 0, 0]]
    assert sorted(numbers) == list(range(20))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(tmp_path: Path, mode: str) -> None:
    for number in range(3):
        image = Image.new("RGBA", (3, 2), (40, 40, 40, 255))
        image.putpixel((0, 0), (200, 200, 200, 0))  # a colour that nobody is to see
        if mode != "P":
            image.putpixel((1, 0), (100, 100, 100, 51))  # a fifth of it over white
        if mode == "P":
            image = image.convert("RGB").quantize(4)
            image.info["transparency"] = image.getpixel((0, 0))
            image.save(tmp_path / f"{number}.png", transparency=image.getpixel((0, 0)))
        else:
            image.convert(mode).save(tmp_path / f"{number}.png")
    x = read_all(load(str(tmp_path)).train.x)
    assert (x[:, :, 0, 0] == 255).all()
    assert (x[:, :, 1, 2] == 40).all()
    if mode != "P":
        assert ((x[:, :, 0, 1].int() - 224).abs() <= 1).all()  # 0.2 x 100 + 0.8 x 255


@pytest.mark.parametrize("lazily", [False, True])
def test_images_are_turned_as_the_camera_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lazily: bool
) -> None:
    upright = np.zeros((4, 6), dtype=np.uint8)
    upright[0, 0], upright[0, 5] = 100, 200
    turns = {1: upright, 3: np.rot90(upright, 2), 6: np.rot90(upright, 1), 8: np.rot90(upright, -1)}
    for orientation, stored in turns.items():  # 6: the camera's right side is the picture's top
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(np.ascontiguousarray(stored)).save(
            tmp_path / f"{orientation}.png", exif=exif
        )
    if lazily:
        monkeypatch.setattr(images, "IN_MEMORY_BYTES", 0)
    data = load(str(tmp_path))
    assert data.event_shape == (1, 4, 6)
    for split in data.splits.values():
        assert (read_all(split.x) == torch.from_numpy(upright)).all()


def test_images_of_absurd_size_are_not_decoded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MOST_PIXELS", 23)
    with refused(str(folder / "even" / "0.png"), expected="23", remedy="scale it down"):
        load(str(folder))
