"""Products in bfloat16 are those of rounded numbers; nothing else is rounded, and no evidence."""

from functools import partial
from queue import SimpleQueue

import pyro
import pyro.distributions as dist
import pytest
import torch
from controls import GRAPHS
from refused import refused
from stories import Conjugate
from torch import Tensor
from torch.nn.functional import conv2d

from pyro_vae import fit, log_evidence
from pyro_vae.inference.compiling.fx_capture import capture
from pyro_vae.inference.compiling.precision import has_bfloat16, on_cuda, use_bfloat16
from pyro_vae.models import VAE, FactorAnalysis
from pyro_vae.networks import ConvDecoder, ConvEncoder

FLAGS = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
needs_bfloat16 = pytest.mark.skipif(
    not has_bfloat16(torch.device("cpu")), reason="this CPU has no bfloat16 products"
)
quick = partial(fit, epochs=3, batch_size=20, progress=False, device="cpu")


def rounded(x: Tensor) -> Tensor:
    return x.bfloat16().double()


def nearly(result: Tensor, exact: Tensor) -> None:
    """The one is the other rounded to bfloat16, after sums in float32."""
    assert result.dtype == torch.float32
    assert torch.equal(result, result.bfloat16().float())
    torch.testing.assert_close(result.double(), exact, rtol=2**-8, atol=1e-5)


def test_products_are_of_rounded_numbers() -> None:
    torch.manual_seed(0)
    x, w, b = torch.randn(5, 64), torch.randn(64, 3), torch.randn(3)
    graph = capture(lambda x, w, b: (torch.addmm(b, x, w), (x.sin() @ w).exp(), x.cos()), x, w, b)
    use_bfloat16(graph.module)
    affine, product, cosine = graph.module(x, w, b)
    nearly(affine, rounded(b) + rounded(x) @ rounded(w))
    nearly(product.log().bfloat16().float(), rounded(x.sin()) @ rounded(w))
    assert torch.equal(cosine, x.cos())


@needs_bfloat16
def test_a_convolutions_gradients_are_of_rounded_numbers() -> None:
    torch.manual_seed(0)
    x, w, g = torch.randn(2, 3, 9, 9), torch.randn(4, 3, 3, 3), torch.randn(2, 4, 7, 7)

    def gradients(x: Tensor, w: Tensor, g: Tensor) -> tuple[Tensor, ...]:
        x, w = x.requires_grad_(), w.requires_grad_()
        return torch.autograd.grad(conv2d(x, w), (x, w), g)

    graph = capture(gradients, x.clone(), w.clone(), g)
    use_bfloat16(graph.module)
    for result, exact in zip(
        graph.module(x, w, g), gradients(*map(rounded, (x, w, g))), strict=True
    ):
        nearly(result, exact)


def test_double_precision_stays() -> None:
    x = torch.randn(4, 4, dtype=torch.float64)
    graph = capture(lambda x: (x @ x,), x)
    use_bfloat16(graph.module)
    assert torch.equal(graph.module(x)[0], x @ x)


@needs_bfloat16
@pytest.mark.parametrize("mode", ["auto", pytest.param("on", marks=pytest.mark.slow)])
@pytest.mark.parametrize("networks", [{}, {"encoder": ConvEncoder, "decoder": ConvDecoder}])
def test_a_fit_in_bfloat16_ends_near_that_in_float32(mode, networks) -> None:
    torch.manual_seed(0)
    x = (torch.rand(100, 1, 8, 8) < torch.rand(1, 1, 8, 8)).float()
    elbos = {}
    for precision in ("float32", "bf16"):
        torch.manual_seed(1)
        vae = VAE((1, 8, 8), 2, **networks)
        result = quick(vae, x, validation=x, precision=precision, compile=mode)
        elbos[precision] = [m["validation_elbo"] for m in result.metrics]
        assert all(p.dtype == torch.float32 for p in vae.parameters())
    assert elbos["bf16"] != elbos["float32"]
    assert elbos["bf16"] == pytest.approx(elbos["float32"], rel=0.01)


def not_for_a_graph() -> tuple[object, object]:
    story = FactorAnalysis((3,), 1)

    def model(x: Tensor) -> None:
        if x.mean() < 100:
            story.model(x)

    def guide(x: Tensor) -> None:
        pyro.module("story", story)
        story.guide(x)

    return model, guide


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({"precision": "tf32"}, {"remedy": "'bf16'"}),
        ({"precision": "bf8"}, {"expected": "bf16"}),
        ({"precision": "bf16", "compile": "off"}, {"remedy": "compile='off'"}),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_left(tmp_path, options, fields) -> None:
    with refused("precision", **fields):
        quick(FactorAnalysis((3,), 1), torch.randn(40, 3), out=tmp_path / "run", **options)
    assert not list(tmp_path.iterdir())


@needs_bfloat16
def test_a_program_that_is_no_graph_is_refused_with_its_reason() -> None:
    with refused("precision", remedy="float32"):
        quick(not_for_a_graph(), torch.randn(40, 3), precision="bf16")


def test_a_processor_without_such_products_is_told_so(monkeypatch) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    with refused("precision", remedy="float32"):
        quick(FactorAnalysis((3,), 1), torch.randn(40, 3), precision="bf16")


def test_tf32_is_for_a_while() -> None:
    before = [flag.fp32_precision for flag in FLAGS]
    with on_cuda("tf32"):
        assert [flag.fp32_precision for flag in FLAGS] == ["tf32", "tf32"]
    assert [flag.fp32_precision for flag in FLAGS] == before


@pytest.mark.parametrize("method", ["importance", "ais"])
def test_an_evidence_is_in_float32(method) -> None:
    """Convolutions on CUDA are TF32 in torch, unless they are told not to be."""
    story, found = Conjugate(), SimpleQueue()  # a set in a closure would be restored

    def model(x: Tensor) -> None:
        found.put({flag.fp32_precision for flag in FLAGS})
        story.model(x)

    before = [flag.fp32_precision for flag in FLAGS]
    log_evidence((model, story.guide), torch.randn(4), method=method, num_particles=8)
    assert not found.empty()
    while not found.empty():
        assert found.get() == {"ieee"}
    assert [flag.fp32_precision for flag in FLAGS] == before


def test_a_sum_that_is_nearly_nought_is_no_reason_against_a_graph() -> None:
    """Its loss is the difference of larger numbers: what it is off by is their rounding."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)
            pyro.factor("level", level.expand(len(x)))

    def guide(x: Tensor) -> None:
        shift = pyro.param("shift", torch.zeros(()))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2 + shift, 1.0))

    x = torch.randn(20)
    level = torch.zeros(())
    elbo = pyro.infer.Trace_ELBO()
    pyro.clear_param_store()
    torch.manual_seed(0)
    level = torch.tensor(elbo.loss(model, guide, x) / 20)
    result = quick((model, guide), x, control=GRAPHS, epochs=1)
    assert any("as a graph" in note for note in result.notes)
