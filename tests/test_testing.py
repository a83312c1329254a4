"""The checks pass sound programs, and name the fault of each program that is broken in one way."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from oracles import ORACLES
from pyro import poutine
from pyro.infer.autoguide import AutoDelta, AutoNormal
from refused import refused
from stories import Conjugate, GlobalMean, PyroStyleVAE
from torch import Tensor, nn
from torch.nn.functional import batch_norm, dropout

from pyro_vae import InputError
from pyro_vae.models import FactorAnalysis
from pyro_vae.testing import (
    CHECKS,
    BrokenContract,
    Case,
    Check,
    NotApplicable,
    Report,
    check_program,
)

X = torch.randn(10, 4, generator=torch.Generator().manual_seed(1))


class Sound(nn.Module):
    """z ~ Normal(0, I), x ~ Normal(W z + b, 1). The broken ones replace one of its parts."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(4, 4), nn.Linear(2, 4)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", self.likelihood(z), obs=self.seen(x))

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            loc, log_scale = self.encode(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))

    def likelihood(self, z: Tensor) -> Any:
        return dist.Normal(self.decode(z), 1.0).to_event(1)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def seen(self, x: Tensor) -> Tensor:
        return x


BROKEN: list[Any] = []


def broken(
    check: str, *details: str, subject: str | None = None, remedy: str = ""
) -> Callable[[type], type]:
    """Mark a program that fails ``check``: the error's fields, and details such as names and shapes."""

    def marked(kind: type) -> type:
        BROKEN.append(pytest.param(kind, check, details, subject, remedy, id=kind.__name__))
        return kind

    return marked


def outcome(report: Report, check: str) -> Any:
    (found,) = (each for each in report.outcomes if each.check == check)
    return found


def only(check: str) -> list[Check]:
    """Return the check of that name; none where it is one of the first four, which are always made."""
    return [each for each in CHECKS if each.__name__.replace("_", " ") == check]


def report_of(program: Any, data: Any = X, **options: Any) -> Report:
    try:
        return check_program(program, data, **options)
    except BrokenContract as error:
        return error.report


# --- broken in one way each ---------------------------------------------------------------------


@broken("runs", "guide", "RuntimeError", "(8, 4)")
class AnEncoderOfTheWrongSize(Sound):
    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x[:, :3])


@broken("runs", "model", "ValueError", "'z'")
class AScaleThatIsNegative(Sound):
    def likelihood(self, z: Tensor) -> Any:
        return dist.Normal(self.decode(z), -torch.ones(())).to_event(1)


@broken("sites", "'zz'", "Did you mean 'z'")
class AnotherName(Sound):
    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("zz", dist.Normal(self.encode(x)[:, :2], 1.0).to_event(1))


@broken("sites", "'z'", "(8, 2)", "(8, 1)")
class AnotherShape(Sound):
    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encode(x)[:, :1], 1.0).to_event(1))

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z.expand(*z.shape[:-1], 2))


@broken("sites", "'x'", "(8, 1)", "(8, 4)")
class ALikelihoodThatBroadcasts(Sound):
    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)[..., :1]


@broken("sites", "model", "'x'", "(8, 8)", "dimension -2")
class WithoutToEvent(Sound):
    """Just as many rows as columns, so that the plate fits the wrong dimension."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z).repeat(1, 2), 1.0), obs=x.repeat(1, 2))


@broken("sites", "guide", "'z'", "(8,)", "dimension -1")
class ALatentOutsideThePlate(Sound):
    def guide(self, x: Tensor) -> None:
        loc, log_scale = self.encode(x).chunk(2, -1)
        pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


@broken("plates", "(10, 2)", subject="z", remedy="the plate")
class AllLatentsAsOneEvent(Sound):
    def model(self, x: Tensor) -> None:
        z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 2), 1.0).to_event(2))
        with pyro.plate("data", len(x)):
            pyro.sample("x", self.likelihood(z), obs=x)

    def guide(self, x: Tensor) -> None:
        loc, log_scale = self.encode(x).chunk(2, -1)
        pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(2))


@broken("density", subject="the model's site 'x'", remedy="`pyro.sample`")
class DropoutThatNeverEnds(Sound):
    def decode(self, z: Tensor) -> Tensor:
        return dropout(self.decoder(z), 0.5, training=True)


class Counting(Sound):
    calls = 0

    def decode(self, z: Tensor) -> Tensor:
        self.calls += 1
        return self.decoder(z)


@broken("density", subject="the model's site 'x'", remedy="keep nothing between calls")
class StateThatCounts(Counting):
    def decode(self, z: Tensor) -> Tensor:
        return super().decode(z) + self.calls


@broken("hidden state", subject="model.self.calls", remedy="keep nothing")
class StateThatDoesNotCount(Counting):
    pass


@broken("hidden state", subject="argument 0", remedy="copy")
class ObservedInPlace(Sound):
    def seen(self, x: Tensor) -> Tensor:
        return x.clamp_(-1.0, 1.0)  # which the second time changes nothing


@broken("hidden state", subject="count", remedy="copy")
class ABufferThatCounts(Sound):
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def encode(self, x: Tensor) -> Tensor:
        self.count += 1
        return super().encode(x)


@broken("hidden state", "NumPy", remedy="`pyro.sample`")
class NumpysNoise(Sound):
    def encode(self, x: Tensor) -> Tensor:
        np.random.rand()  # noqa: NPY002
        return super().encode(x)


@broken("hidden state", subject="model.self.encoder.training")
class AModeThatIsSwitched(Sound):
    def encode(self, x: Tensor) -> Tensor:
        self.encoder.train(not self.encoder.training)
        return super().encode(x)


@broken("hidden state", subject="Pyro's settings")
class ValidationThatIsSwitched(Sound):
    def encode(self, x: Tensor) -> Tensor:
        pyro.settings.set(validate_poutine=not pyro.settings.get("validate_poutine"))
        return super().encode(x)


@broken("factorises", "row 0", "among 8", subject="the model's site 'x'")
class AMeanOverTheBatch(Sound):
    def decode(self, z: Tensor) -> Tensor:
        out = self.decoder(z)
        return out - out.mean(-2, keepdim=True)


@broken("factorises", "row 0", "BatchNorm", subject="the guide's site 'z'")
class BatchNormInTrainMode(Sound):
    def encode(self, x: Tensor) -> Tensor:
        return batch_norm(self.encoder(x).repeat(2, 1), None, None, training=True)[: len(x)]


@broken("factorises", "single row", "guide", remedy=".squeeze()")
class ASqueeze(Sound):
    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x).squeeze().unsqueeze(1).flatten(1)


@broken("particles", subject="the model's site 'x'", remedy="from the right")
class ADimensionFromTheLeft(Sound):
    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z / z.norm(dim=1, keepdim=True))


@broken("trains", "2 parameters", "(4, 2), (4,)")
class ANetworkThatIsNotRegistered(Sound):
    def __init__(self) -> None:
        super().__init__()
        del self.decoder
        self.networks = [nn.Linear(2, 4)]

    def decode(self, z: Tensor) -> Tensor:
        return self.networks[0](z)


@broken("trains", "no gradient", subject="log_scale", remedy="requires_grad_(False)")
class AGuideThatIgnoresItsParameter(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(2))


@broken("trains", "no gradient", subject="encoder.weight")
class AnEncoderWithoutGradient(Sound):
    def encode(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.encoder(x)


@broken("gradients", "ELBO", subject="encoder.weight", remedy="`.detach()`")
class ADetachedLatent(Sound):
    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z.detach())


@broken("gradients", "not finite", subject="decoder.bias", remedy="sqrt")
class AGradientThatIsNotFinite(Sound):
    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z) + (self.decoder.bias * 0).abs().sqrt()


@broken("gradients", "'rate.", "ELBO", remedy="`.detach()`")
class ADetachedDrawOfAGamma(nn.Module):
    """Where noise does not move draws smoothly, both sides are estimates."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = nn.Linear(4, 1)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Gamma(2.0, 1.0))
            loc = z.detach().unsqueeze(-1).expand(*z.shape, 4)
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Gamma(self.rate(x).squeeze(-1).exp(), 1.0))


@broken("saves", subject="the model's site 'x'", remedy="register_buffer")
class AnAverageThatIsNoBuffer(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.offset = torch.zeros(4)

    def decode(self, z: Tensor) -> Tensor:
        if self.training:
            self.offset = self.offset + 0.1
        return self.decoder(z) + self.offset


@broken("captured step", "loss", subject="graph", remedy='compile="off"')
class AnotherStoryForAnotherType(Sound):
    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z) + float(type(z) is Tensor)


@broken("evidence", "'z'", "flat")
class AnImproperPrior(Sound):
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            flat = dist.ImproperUniform(dist.constraints.real_vector, (), (2,))
            z = pyro.sample("z", flat)
            pyro.sample("x", self.likelihood(z), obs=x)


@broken("prior", "not finite", subject="x")
class APriorThatOverflows(Sound):
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.LogNormal(x.new_zeros(2), 100.0).to_event(1))
            pyro.sample("x", self.likelihood(z), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.LogNormal(self.encode(x)[:, :2], 0.1).to_event(1))


@broken("evidence", "-100 nats", subject="log_evidence")
class AnEvidenceThatIsWrong(Sound):
    def log_evidence(self, x: Tensor) -> Tensor:
        return torch.full((len(x),), -100.0)


class Gaussian(FactorAnalysis):
    def __init__(self) -> None:
        super().__init__((4,), 2)


@broken("evidence", "unit 0", "of 8 units", subject="log_evidence")
class AnEvidenceThatIsTooHigh(Gaussian):
    def log_evidence(self, x: Tensor) -> Tensor:
        return super().log_evidence(x) + 0.5


@broken("evidence", "for unit", subject="log_evidence")
class AnEvidenceOfOtherRows(Gaussian):
    def log_evidence(self, x: Tensor) -> Tensor:
        return super().log_evidence(x).flip(0)


@broken("evidence", "'z'", "prior")
class AGuideShortOfThePrior(Sound):
    def guide(self, x: Tensor) -> None:
        loc = self.encode(x)[:, :2]
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Uniform(loc - 1, loc + 1).to_event(1))


@broken("graph")
class NothingAtAll(Sound):
    def model(self, x: Tensor) -> None:
        pass

    def guide(self, x: Tensor) -> None:
        pass


@pytest.mark.parametrize(("kind", "check", "details", "subject", "remedy"), BROKEN)
def test_what_is_broken_is_named(
    kind: type[nn.Module], check: str, details: tuple[str, ...], subject: str | None, remedy: str
) -> None:
    with pytest.raises(BrokenContract) as caught:
        check_program(kind(), X, checks=only(check))
    found = outcome(caught.value.report, check)
    assert found.outcome == "failed"
    assert f"  {check}: {found.reason}" in str(caught.value)
    assert [detail for detail in details if detail not in found.reason] == []
    assert subject in (None, found.error.subject)
    assert remedy in (found.error.remedy or "")


def test_there_is_a_broken_program_for_every_check() -> None:
    checks = {check.__name__.replace("_", " ") for check in CHECKS}
    assert checks - {"device"} <= {param.values[1] for param in BROKEN}


@pytest.mark.gpu
def test_a_constant_on_the_cpu_is_found() -> None:
    class Constant(Sound):
        def decode(self, z: Tensor) -> Tensor:
            return self.decoder(z) * torch.ones(4)

    assert outcome(report_of(Constant()), "device").outcome == "failed"
    assert outcome(report_of(Sound()), "device").outcome == "ok"
    assert outcome(report_of(Sound(), device="cuda"), "device").outcome == "ok"


# --- sound ---------------------------------------------------------------------------------------


class ScoreFunction(Sound):
    """A component that the guide draws and no gradient goes through."""

    def __init__(self) -> None:
        super().__init__()
        self.locs = nn.Parameter(torch.randn(3, 4))
        self.logits = nn.Linear(4, 3)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(logits=x.new_zeros(3)))
            pyro.sample("x", dist.Normal(self.locs[k] * self.decoder.bias, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Categorical(logits=self.logits(x)))


class ARandomProjection(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.projection = torch.randn(4, 4)

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x @ self.projection)


def test_a_tensor_that_no_checkpoint_holds_is_named() -> None:
    saves = only("saves")
    said = outcome(check_program(ARandomProjection(), X, checks=saves), "saves").reason
    assert "plain tensor 'projection'" in said
    assert "plain" not in outcome(check_program(Sound(), X, checks=saves), "saves").reason


def without_networks(kind: type[nn.Module]) -> nn.Module:
    program = kind()
    for name in ("encoder", "decoder"):
        getattr(program, name).requires_grad_(False)
    return program


class SummedOut(nn.Module):
    """A mixture, its component summed out, and a latent location within it."""

    def __init__(self) -> None:
        super().__init__()
        self.locs, self.logits = nn.Parameter(torch.randn(3)), nn.Parameter(torch.zeros(3))
        self.encoder = nn.Linear(1, 1)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            p = dist.Categorical(logits=self.logits)
            k = pyro.sample("k", p, infer={"enumerate": "parallel"})
            z = pyro.sample("z", dist.Normal(self.locs[k], 1.0))
            pyro.sample("x", dist.Normal(z, 0.5), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x.unsqueeze(-1)).squeeze(-1), 0.8))


class AGamma(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shape, self.rate = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Gamma(3.0, 2.0))
            pyro.sample("x", dist.Poisson(z * self.rate.exp()), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Gamma((3 + x) * self.shape.exp(), 3.0))


def scaled() -> Any:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            with poutine.scale(scale=0.1):
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    return model, Conjugate.guide


class WithBatchNorm(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.3))


FLAT = X[:, 0]
STRUCTURES = {
    "normal_normal",
    "beta_bernoulli",
    "von_mises",
    "enumerated_component",
    "hidden_markov",
    "binary_vectors",
    "guide_in_another_order",
    "matrices",
    "the_prior",
    "one_draw_at_a_time",
    "auto_multivariate_normal",
    "latents_of_several_types",
    "a_factor_as_likelihood",
    "masked_distribution",
    "missing_values",
    "ragged_sequences",
    "nothing_is_latent",
    "three_deep",
    "unit_in_the_middle",
    "subsampled",
    "scales_do_not_count",
    "joint_with_local_latents",
}
SOUND = [
    pytest.param(Sound(), X, id="Sound"),
    pytest.param(PyroStyleVAE(4), X, id="PyroStyleVAE"),
    pytest.param(Conjugate(), FLAT, id="Conjugate"),
    pytest.param((Conjugate.model, Conjugate.guide), FLAT, id="functions"),
    pytest.param(GlobalMean(), FLAT, id="GlobalMean"),
    pytest.param(SummedOut(), FLAT, id="SummedOut"),
    pytest.param(without_networks(ScoreFunction), X, id="ScoreFunction"),
    pytest.param(AGamma(), FLAT.exp().round(), id="AGamma"),
    pytest.param(WithBatchNorm(), X, id="WithBatchNorm"),
    pytest.param((Conjugate.model, AutoNormal(Conjugate.model)), FLAT, id="AutoNormal"),
    pytest.param(Sound().double(), X.double(), id="float64"),
    *(pytest.param(o.program, o.args, id=o.name) for o in ORACLES if o.name in STRUCTURES),
]


@pytest.mark.parametrize(("program", "data"), SOUND)
def test_sound_programs_pass(program: Any, data: Any) -> None:
    report = check_program(program, data)
    assert not report.failed
    assert len(report.outcomes) == len(CHECKS) + 4


def test_each_of_those_structures_is_there() -> None:
    assert {oracle.name for oracle in ORACLES} >= STRUCTURES


def test_the_unit_is_chosen_by_name() -> None:
    (oracle,) = (oracle for oracle in ORACLES if oracle.name == "unit_by_name")
    report = check_program(oracle.program, oracle.args, unit="data")
    assert outcome(report, "plates").reason == "the unit is 'data'"
    with pytest.raises(BrokenContract, match="Did you mean 'data'"):
        check_program(oracle.program, oracle.args, unit="dat")


REMARKS = [
    (GlobalMean(), FLAT, "plates", "ok", "'mean' lies outside every plate"),
    (GlobalMean(), FLAT, "factorises", "not applicable", "joint"),
    (GlobalMean(), FLAT, "trains", "not applicable", "no parameters"),
    (Sound(), X[:1], "factorises", "not applicable", "1 unit"),
    (WithBatchNorm(), X, "factorises", "ok", "'encoder.1'"),
    (AGamma(), FLAT.exp().round(), "gradients", "ok", "within 5 standard errors"),
    (Sound(), X, "gradients", "ok", "the same noise"),
    (Counting(), X, "captured step", "not applicable", "every run changes `model.self.calls`"),
    (without_networks(Sound), X, "trains", "not applicable", "no parameters"),
    (
        (Conjugate.model, AutoDelta(Conjugate.model)),
        FLAT,
        "evidence",
        "not applicable",
        "'z' at a single",
    ),
    (
        (Conjugate.model, AutoNormal(Conjugate.model)),
        FLAT,
        "factorises",
        "not applicable",
        "10 rows",
    ),
    (scaled(), FLAT, "evidence", "ok", "site 'x' is scaled"),
]


@pytest.mark.parametrize(("program", "data", "check", "result", "said"), REMARKS)
def test_remarks(program: Any, data: Tensor, check: str, result: str, said: str) -> None:
    found = outcome(report_of(program, data, checks=only(check)), check)
    assert (found.outcome, said in found.reason) == (result, True), found


# --- promises of check_program ------------------------------------------------------------------


class Watched(WithBatchNorm):
    """With something of everything that could be changed."""

    def guide(self, x: Tensor) -> None:
        pyro.param("unused", torch.zeros(2))
        self.last = x
        super().guide(x)


def test_nothing_is_changed_also_by_a_program_that_fails() -> None:
    program, x = Watched(), X.clone()
    program.decoder.eval()
    program.decoder.bias.grad = torch.ones(4)
    pyro.param("mine", torch.ones(()))

    def everything() -> dict[str, Any]:
        return {
            "tensors": {n: t.clone() for n, t in program.state_dict().items()},
            "gradients": {n: p.grad for n, p in program.named_parameters()},
            "trained": [p.requires_grad for p in program.parameters()],
            "modes": [module.training for module in program.modules()],
            "names": dict.fromkeys([*vars(program), *pyro.get_param_store().keys()], 0),
            "noise": torch.get_rng_state(),
            "data": x.clone(),
        }

    before = everything()
    with pytest.raises(BrokenContract):
        check_program(program, x)
    torch.testing.assert_close(before, everything(), rtol=0, atol=0)


def test_data_stay_as_they_are_under_a_program_that_changes_them() -> None:
    x = X[:8].clone()
    assert (
        "argument 0"
        in outcome(
            report_of(ObservedInPlace(), x, checks=only("hidden state")), "hidden state"
        ).reason
    )
    assert torch.equal(x, X[:8])


def the_same() -> Sound:
    torch.manual_seed(5)
    return Sound()


def test_the_same_seed_gives_the_same_report() -> None:
    reports = [check_program(the_same(), X, seed=3) for _ in range(2)]
    assert reports[0] == reports[1]
    assert outcome(reports[0], "evidence") != outcome(
        check_program(the_same(), X, seed=4), "evidence"
    )


def test_a_check_of_ones_own() -> None:
    def has_few_parameters(case: Case) -> str:
        if sum(p.numel() for p in case.parameters.values()) > 10:
            raise InputError("more than ten parameters")
        raise NotApplicable("few enough")

    with pytest.raises(BrokenContract) as caught:
        check_program(Sound(), X, checks=(*CHECKS[:1], has_few_parameters))
    assert [o.check for o in caught.value.report.failed] == ["has few parameters"]
    assert isinstance(caught.value, AssertionError)
    assert isinstance(caught.value, InputError)
    report = check_program(Conjugate(), FLAT, checks=[has_few_parameters])
    assert str(report).splitlines()[-1] == "has few parameters  not applicable  few enough"


def test_an_error_in_a_check_does_not_end_the_battery() -> None:
    def stumbles(case: Case) -> str:
        return [][1]

    report = report_of(Sound(), checks=[stumbles, *CHECKS[:1]])
    assert [o.outcome for o in report.outcomes[-2:]] == ["failed", "ok"]
    assert outcome(report, "stumbles").reason == "IndexError: list index out of range"


def test_bad_input() -> None:
    with refused("program", expected="`.model` and `.guide`"):
        check_program(3, X)
    with refused("num_particles", expected="at least 2"):
        check_program(Sound(), X, num_particles=1)
    with refused("seed"):
        check_program(Sound(), X, seed=-1)
    with pytest.raises(InputError):
        check_program(Sound(), "data")


class SharpClass(nn.Module):
    """A class whose probability turns within a step of finite differences that suits a smooth loss."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(0.1))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            c = pyro.sample("c", dist.Bernoulli(0.5))
            pyro.sample("x", dist.Normal(c, 1.0), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            logits = 3 * (500 * (self.w - 0.1)).sin() + 0 * x
            pyro.sample("c", dist.Bernoulli(logits=logits))


def test_a_right_gradient_of_a_class_that_turns_fast_is_not_called_wrong() -> None:
    report = check_program(
        SharpClass(), torch.randn(9) + 2, num_particles=50, checks=only("gradients")
    )
    outcome = next(each for each in report.outcomes if each.check == "gradients")
    assert outcome.outcome == "ok", outcome.reason
