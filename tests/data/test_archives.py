"""Archives of arrays: .npz of many kinds, sparse matrices, .mat and .h5ad files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from in_order import ids, labels, rows, seen
from refused import refused
from scipy.io import savemat
from stories import RNG

from pyro_vae import InputError
from pyro_vae.data import Kind, ReadOptions, blank_data_set, load, metadata_of, new_rows

N = 30
COUNTS = np.random.default_rng(0).poisson(0.4, (N, 7))
X = np.random.default_rng(1).normal(size=(N, 4)).astype(np.float32)
Y = np.arange(N) % 3
CHOSEN = "the array {!r} holds the rows{} (--array, --label)"
LEVELS = "whole numbers from 0 to 255 are grey levels, k/255 (--pixels false: as they are)"
AS_THEY_ARE = "whole numbers are taken as they are (--pixels true: as grey levels, k/255)"


def npz(folder: Path, **arrays: Any) -> str:
    np.savez_compressed(folder / "a.npz", **arrays)
    return str(folder / "a.npz")


def npy(folder: Path, array: Any) -> str:
    np.save(folder / "a.npy", array)
    return str(folder / "a.npy")


@pytest.mark.parametrize(
    ("arrays", "data", "of_labels"),
    [
        ({"ids": np.arange(N), "features": X}, "features", None),
        ({"ids": np.arange(N), "cells": X}, "cells", None),
        ({"names": np.array(["long name"] * N), "cells": X}, "cells", None),
        ({"big": np.arange(999.0), "table": X}, "table", None),
        ({"X": X, "y": Y}, "X", "y"),  # as ADBench has them
        ({"Y": Y, "X": X}, "X", "Y"),
        ({"labels": Y, "anything": X, "ids": np.arange(N)}, "anything", "labels"),
        ({"junk": np.array([{}, []], dtype=object), "cells": X}, "cells", None),
    ],
)
def test_the_rows_and_the_labels_are_found_and_said(
    tmp_path: Path, arrays: dict[str, Any], data: str, of_labels: str | None
) -> None:
    found = load(npz(tmp_path, **arrays))
    np.testing.assert_array_equal(rows(found), X)
    more = f", and {of_labels!r} the labels" if of_labels else ""
    assert found.remarks == (CHOSEN.format(data, more),)
    assert (labels(found) if of_labels else None) == (Y.tolist() if of_labels else None)


def test_another_array_is_named(tmp_path: Path) -> None:
    path = npz(tmp_path, x=X, other=2 * X, y=Y)
    np.testing.assert_array_equal(rows(load(path, array="other")), 2 * X)
    whole = load(path, array="other", label="y")
    assert labels(whole) == Y.tolist()
    assert not whole.remarks
    np.testing.assert_array_equal(rows(load(path, array="y"))[:, 0], Y)
    with refused("othr", remedy="'other'"):
        load(path, array="othr")
    splits = npz(tmp_path, train=X, test=X, more=3 * X)
    np.testing.assert_array_equal(rows(load(splits, array="more")), 3 * X)


def test_dsprites_own_archive(tmp_path: Path) -> None:
    images = RNG.integers(0, 2, (N, 8, 8)).astype(np.uint8)
    path = npz(
        tmp_path,
        metadata=np.array({"title": "dSprites"}, dtype=object),
        imgs=images,
        latents_classes=np.zeros((N, 6), dtype=np.int64),
        latents_values=np.zeros((N, 6)),
    )
    data = load(path)
    np.testing.assert_array_equal(rows(data)[:, 0], images)
    assert data.values.levels == 2
    assert data.remarks == (CHOSEN.format("imgs", ""),)
    with refused(f"{path}[metadata]", expected="numbers"):
        load(path, array="metadata")


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
@pytest.mark.parametrize("dtype", [np.int64, np.float64, np.float32, bool])
def test_sparse_matrices_are_their_dense_rows(tmp_path: Path, kind: str, dtype: type) -> None:
    sp.save_npz(tmp_path / "a.npz", sp.csr_matrix(COUNTS.astype(dtype)).asformat(kind))
    data = load(str(tmp_path / "a.npz"))
    np.testing.assert_array_equal(rows(data), COUNTS.astype(dtype))
    assert data.event_shape == (7,)


def test_sparse_matrices_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    sp.save_npz(path, sp.csr_matrix(COUNTS).tobsr())
    with refused(str(path), remedy="tocsr()"):
        load(str(path))
    sp.save_npz(path, sp.csr_matrix(COUNTS))
    with refused("label", remedy="leave label out"):
        load(str(path), label="y")
    large = sp.csr_matrix(([1.0], [0], [0] + [1] * 10**5), (10**5, 10**5))
    sp.save_npz(path, large)
    with pytest.raises(InputError) as caught:
        load(str(path))
    assert "40.0 GB" in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "event", "said"),
    [
        ((N, 8, 6, 3), (3, 8, 6), "images with their channels last were turned to 3x8x6"),
        ((N, 5, 5, 4), (4, 5, 5), "images with their channels last were turned to 4x5x5"),
        ((N, 6, 6, 1), (1, 6, 6), "images with their channels last were turned to 1x6x6"),
        (
            (N, 2, 5, 3),
            (2, 5, 3),
            "rows of 2x5x3 are taken as 2 channels of 5x3, not as 3 channels",
        ),
        (
            (N, 3, 8, 3),
            (3, 8, 3),
            "rows of 3x8x3 are taken as 3 channels of 8x3, not as 3 channels",
        ),
        ((N, 64, 4, 4), (64, 4, 4), "rows of 64x4x4 are taken as 64 channels of 4x4"),
        ((N, 3, 8, 6), (3, 8, 6), None),
        ((N, 8, 6), (1, 8, 6), None),
    ],
)
def test_axes_are_moved_where_that_is_safe_and_it_is_said(
    tmp_path: Path, shape: tuple[int, ...], event: tuple[int, ...], said: str | None
) -> None:
    array = RNG.normal(size=shape).astype(np.float32)
    data = load(npy(tmp_path, array))
    assert data.event_shape == event
    if said is None:
        assert not data.remarks
    else:
        assert data.remarks[0].startswith(said)
    wanted = np.moveaxis(array, 3, 1) if said and "turned" in said else array
    np.testing.assert_array_equal(rows(data).reshape(N, -1), wanted.reshape(N, -1))


IMAGES, TABLE = RNG.integers(0, 256, (N, 6, 6)), RNG.integers(0, 256, (N, 6))
IMAGES[0, 0, 0] = TABLE[0, 0] = 255


@pytest.mark.parametrize(
    ("array", "pixels", "unit", "said"),
    [
        (IMAGES.astype(np.uint8), None, 255, LEVELS),
        (IMAGES.astype(np.int16), None, 255, LEVELS),
        (IMAGES.astype(np.int32), None, 255, LEVELS),
        (IMAGES.astype(np.float32), None, 255, LEVELS),
        (IMAGES.astype(np.float64), None, 255, LEVELS),
        (IMAGES.astype(np.uint8) // 9, None, 255, LEVELS),
        (IMAGES // 9, None, 1, AS_THEY_ARE),
        (IMAGES + 0.5, None, 1, None),
        (IMAGES - 3, None, 1, None),
        (TABLE.astype(np.uint8), None, 1, AS_THEY_ARE),
        (TABLE, None, 1, None),
        (TABLE, True, 255, None),
        (TABLE.astype(np.uint8), True, 255, None),
        (IMAGES // 9, True, 255, None),
        (IMAGES.astype(np.uint8), False, 1, None),
        (IMAGES % 2, None, 1, None),
        ((IMAGES % 2).astype(np.uint8), None, 1, None),
    ],
)
def test_grey_levels(
    tmp_path: Path, array: Any, pixels: bool | None, unit: float, said: str | None
) -> None:
    data = load(npy(tmp_path, array), pixels=pixels)
    read = seen(data).reshape(array.shape)
    np.testing.assert_array_equal(read, array.astype(np.float32) / np.float32(unit))
    assert list(data.remarks) == ([] if said is None else [said])
    if unit == 255:
        assert data.values.levels == 256


def test_what_can_be_no_grey_levels_is_refused(tmp_path: Path) -> None:
    with refused("pixels", expected="from 0 to 255"):
        load(npy(tmp_path, IMAGES - 3), pixels=True)
    fractions = load(npy(tmp_path, IMAGES / 255), pixels=True)
    assert fractions.values.levels == 256
    with refused("pixels", expected="arrays"):
        load("digits", pixels=True)


@pytest.mark.parametrize("pixels", [None, True, False])
@pytest.mark.parametrize("array", [IMAGES.astype(np.int32), TABLE.astype(np.uint8)])
def test_new_rows_are_treated_as_the_known_ones_were(
    tmp_path: Path, array: Any, pixels: bool | None
) -> None:
    data = load(npy(tmp_path, array), pixels=pixels)
    known = blank_data_set("a.npy", metadata_of(data))
    dark = np.minimum(array, 1)[:2]  # by itself it would be anything
    dark[0, 0] = 7
    read = new_rows(npy(tmp_path, dark), known, ReadOptions()).read().numpy()
    unit = 255 if data.values.levels == 256 else 1
    np.testing.assert_array_equal(
        read.reshape(dark.shape), dark.astype(np.float32) / np.float32(unit)
    )


def test_new_rows_of_zeros_and_ones_are_what_they_are(tmp_path: Path) -> None:
    known = load(npy(tmp_path, TABLE.astype(np.uint8)))
    bits = (TABLE % 2).astype(np.uint8)[:2]
    np.testing.assert_array_equal(new_rows(npy(tmp_path, bits), known, ReadOptions()).read(), bits)


def test_new_rows_keep_a_column_that_the_known_ones_have(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,a\n" + "1,2\n1,3\n" * 9)
    known = load(str(tmp_path / "t.csv"))
    (tmp_path / "t.csv").write_text("who,a,id\nme,5,7\nyou,6,8\n")
    new = new_rows(str(tmp_path / "t.csv"), known, ReadOptions(missing=True))
    assert new.read().tolist() == [[7, 5], [8, 6]]
    assert new.ids == ("me", "you")
    assert new.id_name == "who"


# --- .mat -----------------------------------------------------------------------------------


def mat(folder: Path, **options: Any) -> str:
    format_ = options.pop("format", "5")
    packed = options.pop("packed", False)
    savemat(folder / "a.mat", options, format=format_, do_compression=packed)
    return str(folder / "a.mat")


@pytest.mark.parametrize("options", [{}, {"packed": True}, {"format": "4"}])
@pytest.mark.parametrize("axis", [0, 1])
def test_mat_files(tmp_path: Path, options: dict[str, Any], axis: int) -> None:
    y = np.expand_dims(Y, 1 - axis).astype(np.float64)
    data = load(mat(tmp_path, X=X.astype(np.float64), y=y, note="hello", **options))
    np.testing.assert_array_equal(rows(data), X)
    assert labels(data) == Y.tolist()
    assert data.remarks == (CHOSEN.format("X", ", and 'y' the labels"),)


def test_mat_files_with_their_rows_last(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (N, 8, 6, 3), dtype=np.uint8)
    data = load(mat(tmp_path, X=np.moveaxis(images, 0, -1), y=Y[:, None]))
    np.testing.assert_array_equal(rows(data), np.moveaxis(images, 3, 1))
    assert "the rows lie along the last axis, as there are as many labels" in data.remarks
    faces = load(mat(tmp_path, ff=X.T.copy()))
    assert faces.event_shape == (N,)
    assert "the first axis counts the rows, 4 of 30 numbers" in faces.remarks[-1]


def test_mat_files_of_other_types(tmp_path: Path) -> None:
    np.testing.assert_array_equal(rows(load(mat(tmp_path, d=sp.csc_matrix(COUNTS * 1.0)))), COUNTS)
    np.testing.assert_array_equal(rows(load(mat(tmp_path, d=COUNTS > 0))), COUNTS > 0)
    whole = load(mat(tmp_path, d=TABLE.astype(np.float64)))  # MATLAB keeps these as bytes
    np.testing.assert_array_equal(rows(whole), TABLE)
    assert not whole.remarks
    named = load(mat(tmp_path, d=X, kind=np.array(["aa", "bb", "cc"] * 10)), label="kind")
    assert named.train.class_names == ("aa", "bb", "cc")
    path = mat(tmp_path, d=X * 1j)
    with refused(f"{path}[d]", expected="numbers"):
        load(path)
    with refused(path, expected="one array"):
        load(mat(tmp_path, s={"a": 1}))
    (tmp_path / "a.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n")
    with refused(path, remedy="'-v7'"):
        load(str(tmp_path / "a.mat"))


# --- .h5ad ----------------------------------------------------------------------------------


def h5ad(folder: Path, form: str | None = None) -> str:
    """Counts of 30 cells and 7 genes, as anndata writes them, with a layer of their logarithms."""
    h5py = pytest.importorskip("h5py")
    path = folder / "a.h5ad"
    with h5py.File(path, "w") as file:
        for place, array in (("X", COUNTS), ("layers/log", np.log1p(COUNTS))):
            if form is None:
                file[place] = array.astype(np.float32)
                continue
            matrix: Any = sp.csr_matrix(array.astype(np.float32)).asformat(form)
            group = file.create_group(place)
            group.attrs.update({"encoding-type": f"{form}_matrix", "shape": matrix.shape})
            for part in ("data", "indices", "indptr"):
                group[part] = getattr(matrix, part)
        obs, var = file.create_group("obs"), file.create_group("var")
        obs.attrs["_index"], var.attrs["_index"] = "cell", "_index"
        obs["cell"], var["_index"] = [f"c{i}" for i in range(N)], [f"g{j}" for j in range(7)]
        obs["depth"], obs["batch"] = COUNTS.sum(1), np.array(Y)
        kind = obs.create_group("kind")
        kind["codes"], kind["categories"] = Y.astype(np.int8), ["T", "B", "NK"]
    return str(path)


@pytest.mark.parametrize("form", [None, "csr", "csc"])
def test_annotated_matrices(tmp_path: Path, form: str | None) -> None:
    data = load(h5ad(tmp_path, form), label="kind")
    np.testing.assert_array_equal(rows(data), COUNTS)
    assert data.train.column_names == tuple(f"g{j}" for j in range(7))
    assert data.train.columns is not None
    assert {column.kind for column in data.train.columns} == {Kind.COUNT}
    assert ids(data) == [f"c{i}" for i in range(N)]
    assert data.train.class_names == ("B", "NK", "T")
    assert labels(data) == [(2, 0, 1)[y] for y in Y]
    assert data.remarks == ("X holds the rows (--array: one of the layers log)",)
    layer = load(h5ad(tmp_path, form), array="log", columns=["g3", "g0"], label="batch")
    np.testing.assert_array_equal(rows(layer), np.log1p(COUNTS).astype(np.float32)[:, [3, 0]])
    assert labels(layer) == Y.tolist()
    assert not layer.remarks


def test_annotated_matrices_that_do_not_fit(tmp_path: Path, monkeypatch: Any) -> None:
    path = h5ad(tmp_path)
    for options, subject, fields in (
        ({"array": "lag"}, "lag", {"remedy": "'log'"}),
        ({"label": "kin"}, "kin", {"remedy": "'kind'"}),
        ({"columns": ["g9"]}, "g9", {"expected": "g0, g1"}),
        ({"separator": ","}, "separator", {"expected": "tables of text"}),
    ):
        with refused(subject, **fields):
            load(path, **options)  # type: ignore[arg-type]
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with refused("h5py", remedy="'pyro-vae[h5ad]'"):
        load(path)
