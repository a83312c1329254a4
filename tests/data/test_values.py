"""Encodings and ranges, where ``load`` does not reach."""

import torch

from pyro_vae.data import Encoding, Split, ValueRange


def test_eight_bit_pixels_come_back_exactly() -> None:
    k = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(Encoding(unit=255.0)(k), torch.arange(256.0) / 255)


def test_the_default_dtype_is_what_a_model_sees() -> None:
    k = torch.arange(3, dtype=torch.uint8)
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(Encoding(unit=255.0)(k), torch.arange(3).double() / 255)
    finally:
        torch.set_default_dtype(torch.float32)


def test_inverting_leaves_particle_dimensions_alone() -> None:
    encoding = Encoding(location=torch.tensor([1.0, 2.0]), scale=torch.tensor([3.0, 0.5]))
    x = torch.rand(5, 7, 2)
    torch.testing.assert_close(encoding(encoding.invert(x)), x)
    assert Encoding(unit=255.0).invert(x) is x


def test_a_split_made_by_hand() -> None:
    split = Split(torch.rand(6, 3), ValueRange(0.0, 1.0), labels=torch.arange(6))
    part = split.subset(torch.tensor([4, 2]))
    assert len(part) == 2
    assert part.labels is not None
    assert part.labels.tolist() == [4, 2]
    assert torch.equal(part.read(), split.read(torch.tensor([4, 2])))
    assert part.fingerprint != split.fingerprint
    relabelled = Split(split.x, split.values, labels=torch.arange(6) + 1)
    assert relabelled.fingerprint != split.fingerprint
