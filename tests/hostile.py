"""Hostile and damaged inputs: files, run folders and command lines, each made by a small function."""

import gzip
import io
import json
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from scipy.io import savemat

ROWS = np.arange(60.0).reshape(20, 3)
RNG_ROWS = np.random.default_rng(0).normal(size=(40, 3))
GOOD = "a,b\n" + "1,2\n3,5\n" * 20


# --- files of arrays ------------------------------------------------------------------------


def npy_bytes(shape: tuple[int, ...], descr: Any = "<f4", content: bytes = b"\0" * 400) -> bytes:
    """Return a .npy file with any header."""
    out = io.BytesIO()
    npy.write_array_header_1_0(out, {"shape": shape, "fortran_order": False, "descr": descr})
    return out.getvalue() + content


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def archive(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return out.getvalue()


def array_bytes(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def with_method(content: bytes, method: int) -> bytes:
    """The archive with another number for how its members are packed."""
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = content.find(signature) + offset
        content = content[:at] + struct.pack("<H", method) + content[at + 2 :]
    return content


def bomb(size: int) -> bytes:
    """``size`` float32 zeros as an .npz whose sizes are all true; only the checksum at its end is not."""
    head, packer = (
        npy_bytes((size // 100, 100), content=b""),
        zlib.compressobj(9, zlib.DEFLATED, -15),
    )
    first = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)
    last = packer.compress(bytes(4 * size % 2**24)) + packer.flush()
    return zip_of("x.npy", first + block * (4 * size // 2**24) + last, 0, len(head) + 4 * size)


def zip_of(name: str, packed: bytes, crc: int, size: int) -> bytes:
    """A zip archive of one member, its sizes in the Zip64 form."""
    extra = struct.pack("<HHQQ", 1, 16, size, len(packed))
    common = struct.pack("<HHHHHIIIHH", 45, 0, 8, 0, 0, crc, 2**32 - 1, 2**32 - 1, len(name), 20)
    local = b"PK\x03\x04" + common + name.encode() + extra + packed
    central = b"PK\x01\x02" + struct.pack("<H", 45) + common
    central += struct.pack("<HHHII", 0, 0, 0, 0, 0) + name.encode() + extra
    end = struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)
    return local + central + b"PK\x05\x06" + end


ARRAYS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "an empty file": (".npy", lambda: b""),
    "one byte": (".npy", lambda: b"\x93"),
    "objects": (".npy", lambda: array_bytes(np.array([{}, []] * 9, dtype=object))),
    "a header that lies, 4 TB": (".npy", lambda: npy_bytes((10**6, 10**6))),
    "a header that lies, 400 MB": (".npy", lambda: npy_bytes((10**6, 100))),
    "a header beyond 64 bits": (".npy", lambda: npy_bytes((10**12, 10**12))),
    "a negative shape": (".npy", lambda: npy_bytes((-1, 3))),
    "too many dimensions": (".npy", lambda: npy_bytes((1,) * 80)),
    "an infinite shape": (
        ".npy",
        lambda: header("{'descr':'<f4','fortran_order':False,'shape':(1e999,)}\n"),
    ),
    "a deep header": (".npy", lambda: header("(" * 5000 + ")" * 5000 + "\n")),
    "a header that is code": (".npy", lambda: header("__import__('os').mkdir('OWNED')\n")),
    "an unknown dtype": (".npy", lambda: npy_bytes((10, 10), "<f3")),
    "a structured dtype": (".npy", lambda: npy_bytes((10,), [("a", "<f4"), ("b", "<i4")])),
    "rows of nothing": (".npy", lambda: npy_bytes((10**12, 0), content=b"")),
    "no bytes but many rows": (".npy", lambda: npy_bytes((2**40,), "|V0", b"")),
    "words of a gigabyte": (".npy", lambda: npy_bytes((20,), "<U1000000000")),
    "complex numbers": (".npy", lambda: array_bytes(np.ones((20, 3), dtype=complex))),
    "dates": (".npy", lambda: array_bytes(np.zeros(20, dtype="M8[s]"))),
    "a cut file": (".npy", lambda: array_bytes(ROWS)[:-100]),
    "an archive by another name": (".npy", lambda: archive({"x.npy": array_bytes(ROWS)})),
    "an array by another name": (".npz", lambda: array_bytes(ROWS)),
    "no archive": (".npz", lambda: b"PK\x03\x04 and then nothing"),
    "no members": (".npz", lambda: archive({})),
    "a folder for a member": (".npz", lambda: archive({"x/": b"", "y/": b""})),
    "a member that is no array": (".npz", lambda: archive({"x.txt": b"hello"})),
    "a member of no bytes": (".npz", lambda: archive({"x.npy": b""})),
    "a member of objects": (".npz", lambda: archive({"x.npy": array_bytes(np.array([{}] * 9))})),
    "an unknown compression": (
        ".npz",
        lambda: with_method(archive({"x.npy": array_bytes(ROWS)}), 99),
    ),
    "the wrong compression": (
        ".npz",
        lambda: with_method(archive({"x.npy": array_bytes(ROWS)}), 14),
    ),
    "an encrypted member": (
        ".npz",
        lambda: archive({"x.npy": array_bytes(ROWS)}).replace(
            b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"
        ),
    ),
    "a cut archive": (".npz", lambda: archive({"x.npy": array_bytes(np.ones((99, 9)))})[:200]),
    "a damaged member": (
        ".npz",
        lambda: (lambda b: b[:60] + b"\xff" * 20 + b[80:])(archive({"x.npy": array_bytes(ROWS)})),
    ),
    "a member that lies, 4 TB": (".npz", lambda: archive({"x.npy": npy_bytes((10**6, 10**6))})),
    "a member that lies, 3 GB": (".npz", lambda: archive({"x.npy": npy_bytes((10**6, 750))})),
    "labels that lie": (
        ".npz",
        lambda: archive({"x.npy": array_bytes(ROWS), "y.npy": npy_bytes((10**9, 20))}),
    ),
    "a bomb of 4 GB": (".npz", lambda: bomb(10**9)),
    "labels of another length": (
        ".npz",
        lambda: archive({"x.npy": array_bytes(ROWS), "y.npy": array_bytes(np.arange(7))}),
    ),
    "a name with a newline and a bell": (
        ".npz",
        lambda: archive({"x\n\x1b[31m\a" + "y" * 500 + ".npy": npy_bytes((10**9,))}),
    ),
}


# --- tables ---------------------------------------------------------------------------------


def parquet(table: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def repeated(groups: int, rows: int = 10**6, columns: int = 8) -> bytes:
    """A Parquet file of constant columns: a few bytes for a million rows."""
    out = io.BytesIO()
    table = pa.table({f"c{i}": np.zeros(rows) for i in range(columns)})
    with pq.ParquetWriter(out, table.schema) as writer:
        for _ in range(groups):
            writer.write_table(table)
    return out.getvalue()


def arrow(**columns: Any) -> bytes:
    return parquet(pa.table(columns))


TABLES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a million columns": (
        ".csv",
        lambda: "\n".join(
            [",".join(map("c{}".format, range(10**6))), *["1," * 999_999 + "2"] * 4]
        ).encode(),
    ),
    "a million cells in line 3": (".csv", lambda: b"a,b\n1,2\n" + b"1," * 10**6 + b"\n"),
    "one line of 300 MB": (".csv", lambda: b"1" * 300_000_000),
    "latin-1 names": (".csv", lambda: "größe,höhe\n1,2\n2,3\n4,4\n".encode("latin-1")),
    "latin-1 further down": (".csv", lambda: (GOOD * 3000 + "ä,1\n").encode("latin-1")),
    "UTF-16 with half a letter": (".csv", lambda: GOOD.encode("utf-16")[:-1]),
    "UTF-16 of noise": (".txt", lambda: b"\xff\xfe" + np.random.default_rng(0).bytes(20_001)),
    "zeros": (".csv", lambda: bytes(10_000)),
    "noise": (".csv", lambda: np.random.default_rng(0).bytes(20_000)),
    "a quote without end": (".csv", lambda: b'a,b\n"1,2\n' + b"1,2\n" * 50),
    "a first line that is one quote": (".csv", lambda: b'"a,b\n' + b"1,2\n" * 50),
    "controls in a name": (".csv", lambda: b'"a\n\n\n\n\n\n\n\n\x1b[2J\a",b\n1,1\n2,2\n3,3\nx,4\n'),
    "a long name": (".csv", lambda: b"n" * 10**6 + b",b\n1,1\n2,2\n3,3\nx,4\n"),
    "a long cell": (".csv", lambda: b"a,b\n1,2\n3," + b"z" * 10**7 + b"\n1,2\n3,4\n"),
    "two columns of one name": (".csv", lambda: b"a,a\n" + b"1,x\n" * 20),
    "numbers beyond floats": (".csv", lambda: b"a,b\n" + b"1,1e999\n" * 20),
    "long whole numbers": (".csv", lambda: b"a,b\n" + b"1," + b"9" * 6000 + b"\n2,3\n" * 20),
    "binary columns": (".parquet", lambda: arrow(a=[b"\xff\xfe"] * 20, b=[1.0] * 20)),
    "nested columns": (".parquet", lambda: arrow(a=[{"b": [1, 2]}] * 20, c=[1.0] * 20)),
    "lists": (".parquet", lambda: arrow(a=[[1.0, 2.0]] * 20, c=[1.0] * 20)),
    "maps": (
        ".parquet",
        lambda: arrow(a=pa.array([[("k", 1)]] * 20, pa.map_(pa.string(), pa.int64()))),
    ),
    "dates out of range": (
        ".parquet",
        lambda: arrow(a=pa.array([2**50] * 20, pa.timestamp("ms")), b=[1.0] * 20),
    ),
    "columns of one name": (
        ".parquet",
        lambda: parquet(pa.Table.from_arrays([pa.array([1.0, 2.0] * 9)] * 2, names=["a", "a"])),
    ),
    "no columns": (".parquet", lambda: parquet(pa.table({}))),
    "no rows": (".parquet", lambda: arrow(a=pa.array([], pa.float64()))),
    "names that are no UTF-8": (
        ".parquet",
        lambda: arrow(abcd=["x"] * 20, efgh=[1.0] * 20).replace(b"abcd", b"a\xff\xfed"),
    ),
    "a column named by a type": (
        ".parquet",
        lambda: arrow(**{"": ["1"] * 19 + ["x"], " ": [1.0] * 20}),
    ),
    "cut": (".parquet", lambda: arrow(a=[1.0] * 999)[:-30]),
    "damaged": (
        ".parquet",
        lambda: (lambda b: b[:20] + b"\xff" * 60 + b[80:])(arrow(a=list(map(float, range(99))))),
    ),
    "a bomb of rows": (".parquet", lambda: repeated(25)),  # 1.6 GB
    "a bomb of words": (
        ".parquet",
        lambda: arrow(
            a=pa.DictionaryArray.from_arrays(np.zeros(10**6, np.int32), ["w" * 4000]),
            b=np.zeros(10**6),
        ),
    ),
    "120,000 columns of Parquet": (
        ".parquet",
        lambda: parquet(
            pa.table([pa.array([1.0] * 3)] * 120_000, names=[f"c{i}" for i in range(120_000)]),
            use_dictionary=False,
            write_statistics=False,
        ),
    ),
    "pandas metadata that lies": (
        ".parquet",
        lambda: parquet(
            pa.table({"a": [1.0] * 20}).replace_schema_metadata(
                {b"pandas": b'{"index_columns": ["zzz"], "columns": 7}'}
            )
        ),
    ),
}


# --- packed text, and what other programs write -----------------------------------------------


def packed_zeros(size: int, line: bytes = b"0,0\n") -> bytes:
    """A .gz of the same line again and again."""
    head, block = b"a,b\n", line * (2**20 // len(line))
    packer, count = zlib.compressobj(9, zlib.DEFLATED, -15), size // len(block)
    first = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    packed = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)  # once, then repeated
    checksum = zlib.crc32(head)
    for _ in range(count):
        checksum = zlib.crc32(block, checksum)
    end = struct.pack("<II", checksum, (len(head) + count * len(block)) % 2**32)
    return gzip.compress(b"")[:10] + first + packed * count + packer.flush() + end


def sparse(
    shape: Any, data: Any, indices: Any, indptr: Any, kind: str = "csr", **more: Any
) -> bytes:
    """Return a file of scipy.sparse.save_npz with any parts."""
    parts = {"shape": shape, "data": data, "indices": indices, "indptr": indptr, **more}
    parts["format"] = np.array(kind.encode())
    return archive({f"{name}.npy": array_bytes(np.array(part)) for name, part in parts.items()})


def mat(do_compression: bool = False, **arrays: Any) -> bytes:
    out = io.BytesIO()
    savemat(out, arrays, do_compression=do_compression)
    return out.getvalue()


def mat_bomb(size: int, element: bytes) -> bytes:
    """A .mat file of one packed element, which goes on with zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(element) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(2**24)) + packer.flush(
        zlib.Z_FULL_FLUSH
    )  # packed once, then repeated
    high, low = divmod(zlib.adler32(element), 2**16)
    checksum = struct.pack(">HH", (high + size * low) % 65521, low)
    packed = b"\x78\xda" + first + block * (size // 2**24) + packer.flush() + checksum
    return mat(x=1.0)[:128] + struct.pack("<II", 15, len(packed)) + packed


def matrix(rows: int, columns: int, nbytes: int) -> bytes:
    """The beginning of an array of doubles, x, in a .mat file."""
    inside = struct.pack("<IIII", 6, 8, 6, 0) + struct.pack("<IIii", 5, 8, rows, columns)
    inside += struct.pack("<HHcxxx", 1, 1, b"x") + struct.pack("<II", 9, nbytes)
    return struct.pack("<II", 14, (len(inside) + nbytes) % 2**32) + inside


def mat4(rows: int, columns: int, content: bytes = bytes(99)) -> bytes:
    return struct.pack("<iiiii", 0, rows, columns, 0, 2) + b"x\0" + content


def annotated(change: Callable[[Any], Any]) -> bytes:
    """An .h5ad file of 20 cells and 3 genes, and then changed."""
    import h5py

    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file["X"] = ROWS
        for axis, names in (("obs", 20), ("var", 3)):
            group = file.create_group(axis)
            group.attrs["_index"] = "_index"
            group["_index"] = [f"{axis}{number}" for number in range(names)]
        change(file)
    return out.getvalue()


def atomic_write(**nodes: Any) -> Callable[[], bytes]:
    """An .h5ad file with other arrays, or others' options, in the place of some."""

    def change(file: Any) -> None:
        for name, node in nodes.items():
            place = name.replace("__", "/")
            del file[place]
            if isinstance(node, dict):
                file.create_dataset(place, **node)
            elif node is not None:
                file[place] = node

    return lambda: annotated(change)


def sparse_group(shape: Any, data: Any, indices: Any, indptr: Any, **attributes: Any) -> Any:
    def change(file: Any) -> None:
        del file["X"]
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "shape": shape, **attributes})
        for name, part in (("data", data), ("indices", indices), ("indptr", indptr)):
            group[name] = part

    return lambda: annotated(change)


FOREIGN: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a .gz of no bytes": (".csv.gz", lambda: b""),
    "a .gz of noise": (".csv.gz", lambda: np.random.default_rng(0).bytes(9999)),
    "a .gz cut": (".csv.gz", lambda: gzip.compress(GOOD.encode() * 99)[:-20]),
    "a .gz with a wrong checksum": (
        ".tsv.gz",
        lambda: gzip.compress(GOOD.encode())[:-8] + bytes(8),
    ),
    "a .gz of a .gz": (".txt.gz", lambda: gzip.compress(gzip.compress(GOOD.encode()))),
    "a .gz bomb of text": (".csv.gz", lambda: packed_zeros(6 * 10**8)),
    "a .gz bomb of one line": (".csv.gz", lambda: packed_zeros(6 * 10**8, b"0")),
    "a .gz bomb of one line of 200 MB": (".txt.gz", lambda: packed_zeros(2 * 10**8, b"0")),
    "an array in a .gz": (".npy.gz", lambda: gzip.compress(array_bytes(ROWS))),
    "blanks for a table": (".txt", lambda: b" \n" * 9999),
    "a million blanks": (".txt", lambda: b" " * 10**6 + b"\n1 2\n3 4\n"),
    "200,000 columns by blanks": (".txt", lambda: b"1 " * 200_000 + b"\n" + b"1 " * 200_000),
    "a sparse matrix of 4 TB": (
        ".npz",
        lambda: sparse([10**6, 10**6], [1.0], [0], [0] + [1] * 10**6),
    ),
    "a sparse matrix of no values, 4 GB": (
        ".npz",
        lambda: sparse([10**5, 10**4], np.zeros(0), [], [0] * (10**5 + 1)),
    ),
    "a sparse matrix beyond 64 bits": (".npz", lambda: sparse([2**63, 2**63], [1.0], [0], [0, 1])),
    "a negative sparse matrix": (".npz", lambda: sparse([-2, 3], [1.0], [0], [0, 1])),
    "a sparse matrix of three axes": (".npz", lambda: sparse([2, 3, 4], [1.0], [0], [0, 1, 1])),
    "a sparse matrix with columns out of range": (
        ".npz",
        lambda: sparse([20, 3], np.ones(20), [10**9] * 20, range(21)),
    ),
    "a sparse matrix with negative columns": (
        ".npz",
        lambda: sparse([20, 3], np.ones(20), [-(10**9)] * 20, range(21)),
    ),
    "a sparse matrix with pointers out of range": (
        ".npz",
        lambda: sparse([20, 3], np.ones(20), [0] * 20, [0] + [10**12] * 20),
    ),
    "a sparse matrix with pointers that go back": (
        ".npz",
        lambda: sparse([20, 3], np.ones(20), [0] * 20, [0, 20, -5] + [20] * 18),
    ),
    "a sparse matrix with rows out of range": (
        ".npz",
        lambda: sparse([20, 3], [1.0], [], [], "coo", row=[10**9], col=[0]),
    ),
    "a sparse matrix of words": (".npz", lambda: sparse([1, 1], ["a"], [0], [0, 1])),
    "a sparse matrix of fractions of columns": (
        ".npz",
        lambda: sparse([20, 3], np.ones(20), [0.5] * 20, range(21)),
    ),
    "a sparse matrix without columns": (".npz", lambda: sparse([20, 3], [1.0], [], [], "coo")),
    "a sparse matrix of an unknown format": (
        ".npz",
        lambda: sparse([1, 1], [1.0], [0], [0], "xyz"),
    ),
    "formats for a format": (
        ".npz",
        lambda: archive({f"{n}.npy": array_bytes(ROWS) for n in ("format", "shape", "data")}),
    ),
    "a .mat of no bytes": (".mat", lambda: b""),
    "a .mat of zeros": (".mat", lambda: bytes(9999)),
    "a .mat of noise": (".mat", lambda: np.random.default_rng(0).bytes(9999)),
    "a .mat header alone": (".mat", lambda: mat(x=ROWS)[:128]),
    "a .mat cut": (".mat", lambda: mat(x=ROWS)[:-99]),
    "a .mat of noise behind its header": (
        ".mat",
        lambda: mat(x=ROWS)[:128] + np.random.default_rng(0).bytes(9999),
    ),
    "a .mat packed and damaged": (
        ".mat",
        lambda: (lambda b: b[:170] + b"\xff" * 20 + b[190:])(mat(True, x=RNG_ROWS)),
    ),
    "a .mat that lies, 4 TB": (".mat", lambda: mat(x=1.0)[:128] + matrix(10**6, 10**6, 2**32 - 99)),
    "a .mat of a negative shape": (
        ".mat",
        lambda: mat(x=1.0)[:128] + matrix(-5, 3, 99) + bytes(99),
    ),
    "a .mat bomb": (".mat", lambda: mat_bomb(2**31, matrix(2**14, 2**14, 2**31))),
    "a .mat bomb with a small shape": (".mat", lambda: mat_bomb(2**31, matrix(20, 3, 2**31))),
    "a .mat of version 4 that lies": (".mat", lambda: mat4(10**5, 10**5)),
    "a .mat of version 4, negative": (".mat", lambda: mat4(-5, 3)),
    "a .mat of version 4, without numbers": (".mat", lambda: mat4(20, 3)),
    "a .mat of version 7.3": (".mat", lambda: bytes(512) + b"\x89HDF\r\n\x1a\n" + bytes(99)),
    "a .mat of cells": (".mat", lambda: mat(x=np.array([[1], [2, 3]] * 9, dtype=object))),
    "a .mat of records": (".mat", lambda: mat(x={"a": 1, "b": {"c": ROWS}})),
    "a .mat of complex numbers": (".mat", lambda: mat(x=ROWS * 1j)),
    "an .h5ad of no bytes": (".h5ad", lambda: b""),
    "an .h5ad of noise": (".h5ad", lambda: np.random.default_rng(0).bytes(9999)),
    "an .h5ad cut": (".h5ad", lambda: annotated(lambda _: None)[:2000]),
}
OF_H5AD: dict[str, Callable[[], bytes]] = {
    "no X": atomic_write(X=None),
    "no names": atomic_write(obs=None),
    "names that are a number": atomic_write(var=3.0),
    "too few names": atomic_write(var___index=["a"]),
    "names of two axes": atomic_write(var___index=[["a", "b", "c"]]),
    "X of words": atomic_write(X=[["a"]]),
    "X of three axes": atomic_write(X=np.ones((20, 3, 2))),
    "X of 4 TB that were never written": atomic_write(
        X={"shape": (10**6, 10**6), "dtype": "f4", "chunks": (1000, 1000)}
    ),
    "X of zeros, 4 GB": atomic_write(
        X={"shape": (10**5, 10**4), "dtype": "f4", "chunks": (1000, 1000), "compression": "gzip"}
    ),
    "a sparse X of 4 TB": sparse_group([10**6, 10**6], [1.0], [0], [0, 1]),
    "a sparse X out of range": sparse_group([20, 3], np.ones(20), [99] * 20, np.arange(21)),
    "a sparse X without a shape": sparse_group("x", [1.0], [0], [0, 1]),
    "a sparse X of an unknown form": sparse_group(
        [20, 3], [1.0], [0], [0, 1], **{"encoding-type": "xyz"}
    ),
    "an X that is a link to elsewhere": lambda: annotated(
        lambda file: (file.pop("X"), file.__setitem__("X", external("elsewhere.h5", "X")))
    ),
}


def external(name: str, place: str) -> Any:
    import h5py

    return h5py.ExternalLink(name, place)


# --- folders of images ----------------------------------------------------------------------


def png(width: int, height: int, body: bytes = b"") -> bytes:
    """Return a PNG with any header."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(body, 1)) if body else b""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + data + chunk(b"IEND", b"")


def picture(kind: str = "PNG", size: int = 8, **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.arange(size * size, dtype=np.uint8).reshape(size, size)).save(
        out, kind, **options
    )
    return out.getvalue()


def tiff(width: int) -> bytes:
    """A TIFF of 8x8 whose width is said to be another."""
    content = picture("TIFF")
    at = content.find(struct.pack("<HHI", 256, 4, 1)) + 8
    at = at if at > 8 else content.find(struct.pack("<HHI", 256, 3, 1)) + 8
    return content[:at] + struct.pack("<I", width) + content[at + 4 :]


def images(folder: Path, last: bytes, name: str | bytes = "9.png", good: int = 5) -> Path:
    folder.mkdir()
    for number in range(good):
        (folder / f"{number}.png").write_bytes(picture())
    Path(
        os.path.join(os.fsencode(folder), os.fsencode(name)).decode("utf-8", "surrogateescape")
    ).write_bytes(last)
    return folder


FOLDERS: dict[str, Callable[[Path], Path]] = {
    "60000x60000 by its header": lambda p: images(p, png(60_000, 60_000)),
    "60000x60000 alone": lambda p: images(p, png(60_000, 60_000), good=0),
    "12000x12000 by its header": lambda p: images(p, png(12_000, 12_000), good=0),
    "12000x12000 of nothing": lambda p: images(p, png(12_000, 12_000, bytes(12_000 * 36_001))),
    "0x0": lambda p: images(p, png(0, 0)),
    "a width beyond 31 bits": lambda p: images(p, png(2**32 - 1, 2**32 - 1)),
    "no image data": lambda p: images(p, png(8, 8)),
    "PostScript for an image": lambda p: images(
        p, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
    ),
    "a TIFF that lies": lambda p: images(p, tiff(2**31), "9.tif"),
    "a GIF cut": lambda p: images(p, picture("GIF")[:40], "9.gif"),
    "a JPEG of noise": lambda p: images(
        p, picture("JPEG")[:200] + np.random.default_rng(0).bytes(900), "9.jpg"
    ),
    "a WebP of noise": lambda p: images(p, b"RIFF\xff\xff\xff\x7fWEBPVP8 " + bytes(99), "9.webp"),
    "a PPM that lies": lambda p: images(p, b"P6 100000 100000 255\n" + bytes(99), "9.ppm"),
    "a BMP that lies": lambda p: images(
        p,
        b"BM"
        + struct.pack("<IIIIiiHHIIIIII", 99, 0, 54, 40, 2**30, -(2**31), 1, 24, 0, 0, 0, 0, 0, 0),
        "9.bmp",
    ),
    "a name that is no UTF-8": lambda p: images(p, png(60_000, 60_000), b"\xff\xfe.png"),
    "an empty folder": lambda p: (p.mkdir(), p)[1],
}


# --- folders of runs ------------------------------------------------------------------------


def edit_record(run: Path, change: Callable[[dict[str, Any]], Any], tensors: bool = False) -> None:
    """Changes the JSON (or the tensors) of a checkpoint, whose checksum stays that of its tensors."""
    path = run / "checkpoint.safetensors"
    with safe_open(path, framework="pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        record = json.loads(file.metadata()["pyro_vae"])
    if tensors:
        from pyro_vae.checkpoint import checksum

        change(stored)
        record["checksum"] = checksum(stored)
    else:
        record = change(record) or record
    save_file(stored, path, {"pyro_vae": record if isinstance(record, str) else json.dumps(record)})


def without(*keys: str) -> Callable[[Path], None]:
    def change(record: dict[str, Any]) -> None:
        place = record
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]

    return lambda run: edit_record(run, change)


def replaced(value: Any, *keys: str) -> Callable[[Path], None]:
    def change(record: dict[str, Any]) -> None:
        place = record
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return lambda run: edit_record(run, change)


def config(text: str | bytes, add: bool = False) -> Callable[[Path], None]:
    def write(run: Path) -> None:
        content = text if isinstance(text, bytes) else text.encode()
        before = (run / "config.yaml").read_bytes() if add else b""
        (run / "config.yaml").write_bytes(before + content)

    return write


def option(key: str, value: Any) -> Callable[[Path], None]:
    """Another value for one option in config.yaml, which is there already."""
    import yaml

    def change(run: Path) -> None:
        options = yaml.safe_load((run / "config.yaml").read_text())
        *parents, last = key.split("/")
        place = options
        for parent in parents:
            if place[parent] is None:  # a part that was left to the fit
                place[parent] = {}
            place = place[parent]
        place[last] = value
        (run / "config.yaml").write_text(yaml.safe_dump(options))

    return change


def raw(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda run: (run / name).write_bytes(content) and None


def folder(name: str) -> Callable[[Path], None]:
    def put(run: Path) -> None:
        (run / name).unlink()
        (run / name).mkdir()

    return put


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)
IN_A_LINE = "{" + LAUGHS.replace("\n", ", ")[:-2] + "}"
CONFIGS: dict[str, Callable[[Path], None]] = {
    "recursive YAML": config("a: &a [*a]\nmodel: *a\n"),
    "a recursive mapping": config("&a {model: *a}\n"),
    "deep YAML": config("model: " + "[" * 20_000 + "]" * 20_000 + "\n"),
    "deep but lawful YAML": config("model: " + "[" * 300 + "]" * 300 + "\n"),
    "an alias bomb": config(LAUGHS + "model: *a11\n"),
    "an alias bomb for a part": config("beta: " + "*a11\n" + "", add=True)
    if False
    else config(LAUGHS + "model: {class_path: VAE, init_args: {prior: *a11}}\n"),
    "an alias bomb in a string": option(
        "model/init_args/prior", "{" + LAUGHS.replace("\n", ", ")[:-2] + "}"
    ),
    "a tag for an object": config("model: !!python/object/apply:os.mkdir [OWNED]\n"),
    "a tag for a name": config("model: !!python/name:os.mkdir\n"),
    "an unknown tag": config("model: !mine x\n"),
    "a number that is none": config("seed: !!int x\n"),
    "a date that is none": config("seed: 2020-99-99\n"),
    "a date": config("seed: 2020-01-01\n", add=True),
    "bytes": config("data: !!binary aGVsbG8=\n", add=True),
    "a set": config("data: !!set {a, b}\n", add=True),
    "keys that are lists": config("? [a, b]\n: c\n"),
    "keys that are numbers": config("1: 2\n", add=True),
    "a whole number of 10,000 digits": config("seed: " + "9" * 10_000 + "\n", add=True),
    "no UTF-8": config(b"data: \xff\xfe\n"),
    "zeros for YAML": config(bytes(1000)),
    "50 MB of YAML": config(b"# " + b"x" * 50_000_000 + b"\n"),
    "a million keys": config("".join(f"k{i}: {i}\n" for i in range(200_000))),
    "nothing": config(b""),
    "a list": config("- 1\n- 2\n"),
    "a model that is a number": option("model", 5),
    "a model without a class": option("model", {"init_args": {}}),
    "a class that is a list": option("model/class_path", [1, 2]),
    "arguments that are a list": option("model/init_args", [1, 2]),
    "a width that is a mapping": option("model/init_args/latent_dim", {"a": 1}),
    "an absurd width": option("model/init_args/latent_dim", 10**12),
    "a seed of null": option("seed", None),
    "epochs of infinity": option("epochs", float("inf")),
    "data that are a list": option("data", ["digits"]),
    "data with a null byte": option("data", "a\0b"),
    "betas of one": option(
        "optimizer", {"class_path": "torch.optim.Adam", "init_args": {"betas": [0.9]}}
    ),
    "a class for data": option("optimizer/class_path", "torch.nn.Linear"),
    "an optimizer that is a number": option("optimizer", 5),
    "a prior that is a number": option("model/init_args/prior", 5),
}
RECORDS: dict[str, Callable[[Path], None]] = {
    **{
        f"no {key}": without(key)
        for key in (
            "position",
            "optimizer",
            "numpy",
            "python",
            "data",
            "program",
            "rows",
            "format",
            "checksum",
        )
    },
    "no epoch": without("position", "epoch"),
    "no fingerprints": without("data", "fingerprints"),
    "a position that is a list": replaced([1, 2], "position"),
    "a position with more": replaced(7, "position", "more"),
    "an epoch that is a word": replaced("one", "position", "epoch"),
    "an epoch below 0": replaced(-5, "position", "epoch"),
    "a batch beyond all": replaced(10**9, "position", "batch"),
    "an epoch of null": replaced(None, "position", "epoch"),
    "a best that is a list": replaced([1], "position", "best"),
    "data that are a number": replaced(7, "data"),
    "an optimizer that is a list": replaced([7], "optimizer"),
    "slots without numbers": replaced({"optimizer/x/y/z": 1, "optimizer/a/step": 2}, "optimizer"),
    "numpy that is a word": replaced("MT", "numpy"),
    "python that is a word": replaced("MT", "python"),
    "a format that is a word": replaced("1", "format"),
    "a format of tomorrow": replaced(99, "format"),
    "a record that is a list": lambda run: edit_record(run, lambda _: [1]),  # type: ignore[arg-type]
    "a deep record": lambda run: edit_record(run, lambda _: "[" * 100_000 + "]" * 100_000),
    "a long number": lambda run: edit_record(run, lambda _: '{"format": ' + "9" * 9999 + "}"),
    "no JSON": lambda run: edit_record(run, lambda _: "{"),
    "no generator": lambda run: edit_record(run, lambda t: t.pop("rng/torch"), tensors=True),
    "a generator of floats": lambda run: edit_record(
        run, lambda t: t.update({"rng/torch": t["rng/torch"].float()}), tensors=True
    ),
    "a short generator": lambda run: edit_record(
        run, lambda t: t.update({"rng/torch": t["rng/torch"][:9]}), tensors=True
    ),
    "an optimizer's slots of another shape": lambda run: edit_record(
        run,
        lambda t: t.update({n: v.reshape(-1)[:1].clone() for n, v in t.items() if "exp_avg" in n}),
        tensors=True,
    ),
    "best parameters of another shape": lambda run: edit_record(
        run,
        lambda t: t.update({n: v.reshape(-1)[:1].clone() for n, v in t.items() if "best/" in n}),
        tensors=True,
    ),
    "whole numbers for parameters": lambda run: edit_record(
        run, lambda t: t.update({n: v.long() for n, v in t.items() if "/" in n}), tensors=True
    ),
    "a checkpoint that is a folder": folder("checkpoint.safetensors"),
    "a checkpoint of no bytes": raw("checkpoint.safetensors", b""),
    "a checkpoint of zeros": raw("checkpoint.safetensors", bytes(10_000)),
    "a checkpoint cut": lambda run: raw(
        "checkpoint.safetensors", (run / "checkpoint.safetensors").read_bytes()[:-100]
    )(run),
    "a checkpoint with a long header": raw(
        "checkpoint.safetensors", struct.pack("<Q", 2**62) + bytes(99)
    ),
    "a pickle for a checkpoint": raw(
        "checkpoint.safetensors", b"\x80\x04\x95\x0e\0\0\0\0\0\0\0\x8c\x02os"
    ),
    "metrics of noise": raw("metrics.jsonl", b"\xff\xfe\0{"),
    "metrics that are numbers": raw("metrics.jsonl", b"1\n2\n"),
    "metrics without an epoch": raw("metrics.jsonl", b'{"train_elbo": -1.0}\n' * 2),
    "metrics of words": raw("metrics.jsonl", b'{"epoch": "x", "train_elbo": "y"}\n' * 2),
    "metrics that are deep": raw("metrics.jsonl", b"[" * 100_000 + b"\n"),
    "metrics without figures": raw("metrics.jsonl", b'{"epoch": 1}\n{"epoch": 2}\n'),
    "metrics that are a folder": lambda run: (
        (run / "metrics.jsonl").unlink(),
        (run / "metrics.jsonl").mkdir(),
    )[0],
}

# --- command lines --------------------------------------------------------------------------

NEW = "fit --model VAE --data digits --epochs 1 --out runs/new"
ABSURD: dict[str, str] = {
    "--num 1e7": "sample RUN --num 10000000 --out s.npz",
    "--num 1e7 as a picture": "sample RUN --num 10000000 --out s.png",
    "--num 1e15": "sample RUN --num 1000000000000000 --out s.npz",
    "--num 1e30": f"sample RUN --num {10**30} --out s.npz",
    "--image_size 5000": "fit --model VAE --data photos --image_size 5000 --epochs 1 --out runs/new",
    "--image_size 1e9": "fit --model VAE --data photos --image_size 1000000000 --epochs 1 --out runs/new",
    "--model.latent_dim 1e9": f"{NEW} --model.latent_dim 1000000000",
    "--model.latent_dim 1e7": f"{NEW} --model.latent_dim 10000000",
    "--model.latent_dim 1e30": f"{NEW} --model.latent_dim {10**30}",
    "hidden_dims of 1e5 twice": f"{NEW} --model.encoder.hidden_dims [100000,100000]",
    "a million layers": f"{NEW} --model.encoder.hidden_dims [{','.join('1' * 20000)}]",
    "--epochs 1e30": f"{NEW} --epochs {10**30} --validation 1000000",
    "--batch_size 1e30": f"{NEW} --batch_size {10**30} --model.latent_dim 0",
    "--num_particles 1e9": f"{NEW} --elbo IWAE --elbo.num_particles 1000000000",
    "evidence with 1e15 particles": "evidence RUN --num_particles 1000000000000000",
    "--seed 1e30": f"{NEW} --seed {10**30}",
    "a word that is no UTF-8": "fit --model VAE --data \udcff\udcfe.csv --out runs/new",
    "a name with a newline": "fit --model VAE --data a\nb\nc\nd\ne\nf\ng\nh.csv --out runs/new",
    "a name of 100,000 letters": f"fit --model VAE --data {'x' * 100_000}.csv --out runs/new",
    "a name with an escape": "fit --model VAE --data \x1b[31mred.csv --out runs/new",
    "an out that is no UTF-8": "fit --model VAE --data digits --epochs 1 --out runs/\udcff",
    "a deep value": f"{NEW} --model.prior {'[' * 20_000}",
    "a bomb for a value": f"{NEW} --model.prior {{{LAUGHS.replace(chr(10), ',')}}}".replace(
        ": ", ":"
    ),
    "a tag for a value": f"{NEW} --model.prior !!python/object/apply:os.mkdir",
    "a null byte": "fit --model VAE --data a\0b.csv --out runs/new",
}


def data_file(name: str, folder: Path) -> Path:
    """The hostile file, or folder of images, of that name."""
    if name in FOLDERS:
        return FOLDERS[name](folder / "photos")
    of_h5ad = {known: (".h5ad", make) for known, make in OF_H5AD.items()}
    ending, make = {**ARRAYS, **TABLES, **FOREIGN, **of_h5ad}[name]
    path = folder / f"data{ending}"
    path.write_bytes(make())
    return path


def copied_run(run: Path, folder: Path) -> Path:
    (folder / "runs").mkdir(exist_ok=True)
    return shutil.copytree(run, folder / "runs" / "vae")
