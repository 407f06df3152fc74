#!/usr/bin/env python3
"""Write the files in data/ by the formats' own libraries: what the readers must agree with.

    pip install numpy safetensors && python3 make_fixtures.py
"""

import pathlib

import numpy as np
import safetensors.numpy

DATA = pathlib.Path(__file__).resolve().parent / "data"


def numbers(dtype):
    """Six values of a type, its extremes among them."""
    if np.issubdtype(dtype, np.bool_):
        return np.array([False, True, True, False, False, True])
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        return np.array([info.min, 0, 1, 2, 100, info.max], dtype)
    return np.array([-1.5, 0, 0.25, 1, 1e30, 16777216], dtype)


def write_npy():
    for name in ["f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"]:
        np.save(DATA / f"{name}.npy", numbers(np.dtype(name)).reshape(2, 3))
    for major in 2, 3:
        with open(DATA / f"version{major}.npy", "wb") as file:
            np.lib.format.write_array(file, numbers("f4").reshape(2, 3), version=(major, 0))
    np.save(DATA / "fortran.npy", np.asfortranarray(numbers("f4").reshape(2, 3)))
    np.save(DATA / "big_endian.npy", numbers(">f4"))
    np.save(DATA / "half.npy", np.ones(3, "f2"))
    np.save(DATA / "complex.npy", np.ones(3, "c8"))
    np.save(DATA / "records.npy", np.zeros(2, [("a", "f4"), ("b", "i4")]))
    np.save(DATA / "scalar.npy", np.float32(7.5))
    np.save(DATA / "vector.npy", np.arange(5, dtype="f4"))
    np.save(DATA / "empty.npy", np.zeros((0, 3), "f4"))
    np.save(DATA / "rank4.npy", np.arange(24, dtype="f4").reshape(1, 2, 3, 4))
    np.save(DATA / "rank5.npy", np.zeros((1, 1, 1, 1, 1), "f4"))


def write_safetensors():
    safetensors.numpy.save_file(
        {
            "net/weights": np.arange(6, dtype="f4").reshape(2, 3) / 4,
            "net/biases": np.array([-1, 1e-30], "f4"),
            "scalar": np.array(2.5, "f4"),
            "empty": np.zeros((0, 3), "f4"),
            "step": np.array([1000], "i8"),
            "half": np.ones((1, 1, 1, 1, 2, 3), "f2"),
            "mask": np.array([True]),
            'quote" \\ \n é': np.array([8], "f4"),
        },
        DATA / "foreign.safetensors",
        {"origin": "safetensors", "text": 'quote" \\ \n é 😀'},
    )


DATA.mkdir(exist_ok=True)
write_npy()
write_safetensors()
