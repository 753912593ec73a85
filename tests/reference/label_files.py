"""Small label files as NumPy and torch.save write them, for the tests of mr2-data.

    python tests/reference/label_files.py

Needs numpy and torch. Writes crates/mr2-data/tests/fixtures/labels/: arrays of several types and
shapes, and a dictionary of arrays in the form of CIFAR-N's files (UCSC-REAL/cifar-10-100n).
"""

import pathlib

import numpy as np
import torch

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/mr2-data/tests/fixtures/labels"
CLEAN = np.array([0, 1, 2, 3] * 5)
NOISY = np.array([0, 1, 2, 2] * 4 + [3, 3, 3, 3])


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for kind in ["u1", "i1", "<u2", "<i4", "<i8"]:
        np.save(OUT / f"{kind.strip('<')}.npy", NOISY.astype(kind))
    np.save(OUT / "wrong_floats.npy", NOISY.astype("f4"))
    np.save(OUT / "wrong_big_endian.npy", NOISY.astype(">i8"))
    np.save(OUT / "wrong_matrix.npy", NOISY.reshape(4, 5))
    np.save(OUT / "wrong_fortran.npy", np.asfortranarray(NOISY.reshape(4, 5)))
    np.save(OUT / "wrong_objects.npy", np.array({"clean_label": CLEAN}), allow_pickle=True)
    labels = {"clean_label": CLEAN, "worse_label": NOISY, "pair": NOISY.reshape(4, 5)}
    torch.save(labels, OUT / "cifar_n.pt")
    torch.save(torch.tensor(NOISY), OUT / "wrong_tensor.pt")
    (OUT / "text.txt").write_text("".join(f"{label}\n" for label in NOISY))


if __name__ == "__main__":
    main()
