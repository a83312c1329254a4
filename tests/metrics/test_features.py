"""Features: names, seeds, modules as they were, what a trained classifier sees, bad input."""

import importlib

import numpy as np
import pytest
import torch
from refused import refused
from torch import nn

from pyro_vae._torchvision import torchvision
from pyro_vae.metrics import (
    ModuleFeatures,
    PrincipalComponents,
    classifier,
    frechet_distance,
    inception,
    random_network,
)


def test_principal_components(tmp_path) -> None:
    x = torch.randn(200, 2, 3).double() * torch.arange(1, 7).reshape(2, 3)
    few, all_of_them = PrincipalComponents(x, 2), PrincipalComponents(x)
    assert few(x).shape == (200, 2)
    assert all_of_them(x).shape == (200, 6)
    values = np.linalg.eigvalsh(np.cov(x.reshape(200, -1).numpy().T))[::-1]
    assert np.allclose(few(x).var(0, ddof=1), values[:2])
    moved = x + torch.rand(2, 3)
    exact = frechet_distance(x, moved).value
    assert frechet_distance(x, moved, features=all_of_them).value == pytest.approx(exact)
    assert "2 principal components of 200 rows" in few.name
    assert few.name == PrincipalComponents(x, 2).name != PrincipalComponents(x[1:], 2).name
    with refused("features", expected="6"):
        few(torch.zeros(3, 5))


@pytest.mark.parametrize("shape", [(5,), (1, 8, 8), (3, 7, 9), (2, 2, 2, 2)])
def test_random_networks(shape) -> None:
    x, before = torch.rand(30, *shape), torch.get_rng_state()
    one, again, other = (random_network(shape, 7, seed=s) for s in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert one(x).shape == (30, 7)
    assert one.name == again.name != other.name
    assert np.array_equal(one(x), again(x))
    assert np.isfinite(one(x)).all()
    with refused("features", expected="the module takes"):
        one(torch.zeros(3, 11, 12))


def test_a_module_is_left_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Dropout(0.5)).train()
    state = {k: v.clone() for k, v in module.state_dict().items()}
    features = ModuleFeatures(module, "mine", batch_size=4)
    x = torch.randn(10, 3)
    assert np.array_equal(features(x), features(x))
    assert features.name.startswith("mine ")
    assert module.training
    assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())
    name = features.name
    nn.init.zeros_(module[0].weight)
    assert features.name != name


def test_bad_modules_are_refused() -> None:
    with refused("module"):
        ModuleFeatures(lambda x: x)
    with refused("features", expected="of each row"):
        ModuleFeatures(nn.Flatten(0))(torch.zeros(3, 2))


def test_a_classifier_sees_what_tells_its_classes_apart() -> None:
    x = torch.randn(600, 6) * torch.tensor([1.0, 5.0, 5.0, 5.0, 5.0, 5.0])
    y = x[:, 0] > 0
    features = classifier(x, y, 8, epochs=20, seed=1)
    assert features.name.startswith("classifier of 2 classes ")
    assert features.name == classifier(x, y, 8, epochs=20, seed=1).name
    assert features.name != classifier(x, y, 8, epochs=20, seed=2).name
    one_class, other_rows = x[y], x[torch.randperm(len(x))]
    seen = frechet_distance(x, one_class, features=features).value
    assert seen > 20 * frechet_distance(x, other_rows, features=features).value
    spread = frechet_distance(features(x[:300]), features(x[300:])).extrapolated()
    assert abs(spread.value) < 4 * spread.standard_error


def test_bad_labels_are_refused() -> None:
    x = torch.randn(10, 2)
    with refused("labels", expected="each row"):
        classifier(x, torch.zeros(9))
    with refused("labels", expected="two classes"):
        classifier(x, torch.zeros(10))
    with refused("rows"):
        classifier(x / 0, torch.arange(10) % 2)


@pytest.fixture(scope="module")
def weights():
    torchvision()
    build = importlib.import_module("torchvision.models").inception_v3
    return build(weights=None, init_weights=False).state_dict()


def test_inception_with_given_weights(weights, tmp_path) -> None:
    features = inception(weights)
    grey = torch.rand(2, 1, 8, 8)
    found = features(grey)
    assert found.shape == (2, 2048)
    assert np.isfinite(found).all()
    assert np.allclose(found, features(grey.expand(-1, 3, -1, -1)), atol=1e-6)
    assert features.name.startswith("Inception v3 of torchvision ")
    assert "FID" not in features.name
    from safetensors.torch import save_file

    save_file(weights, tmp_path / "inception.safetensors")
    assert inception(tmp_path / "inception.safetensors").name == features.name
    with refused("features"):
        features(torch.rand(2, 2, 8, 8))


def test_other_weights_are_refused(weights, tmp_path) -> None:
    with refused("weights", expected="inception_v3"):
        inception({"weight": torch.zeros(2)})
    with refused("weights", remedy="state dictionary"):
        inception(tmp_path / "inception.pth")
    missing = tmp_path / "none.safetensors"
    with refused(str(missing)):
        inception(missing)
