"""The VAE of data of which some have a label."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae.compatibility import check_reads_missing
from pyro_vae.errors import InputError
from pyro_vae.guides import AmortizedGuide, MeanFieldNormal
from pyro_vae.likelihoods import Bernoulli, Likelihood
from pyro_vae.models._partial_labels import even_where, seen_labels, spread_out
from pyro_vae.models.conditional import ConditionalVAE
from pyro_vae.networks import MLP, Network, NetworkFactory, Shape, join
from pyro_vae.priors import Prior, StandardNormal

SUMMED_OUT: Any = {"enumerate": "parallel"}


class SemiSupervisedVAE(ConditionalVAE):
    """y ~ Categorical(w), z ~ p(z), x ~ p(x | z, y); guide q(y | x) q(z | x, y); y is seen of some data.

    A label of -1 says that y was not seen. The evidence is log p(x, y) of a datum with a label and
    log p(x) of one without; ``fit`` sums over the y of the latter, exactly, by itself. Site "y" is the
    class where there is no label. Where there is one, "label" observes it, and "y" is drawn evenly, in
    model and guide alike, and not looked at.

    Nothing in an ELBO teaches q(y | x) from labels, so that in training mode the gradient, and it alone,
    has another term, classifier_weight log q(label | x). No figure contains it: neither the ELBO that
    ``fit`` reports nor an evidence. A share of 1/1000 of q(y | x) is spread evenly over the classes: a
    classifier that is sure of itself would leave the others out of the evidence.

    The default ELBO sums "y" out, and ``WakeSleep`` draws it; most others in
    :mod:`pyro_vae.inference.objectives` need draws that gradients go through, and refuse it.

    Source: D. P. Kingma, D. J. Rezende, S. Mohamed, M. Welling, "Semi-supervised learning with deep
    generative models", 2014, https://arxiv.org/abs/1406.5298 (its M2).

    Args:
        data_shape: shape X of one datum.
        latent_dim: size Z of the latent vector.
        num_classes: C.
        classifier: the network of q(y | x), made from an input and an output shape.
        classifier_weight: how much the classifier's term counts, in data.
        prior: p(z), as of :class:`ConditionalVAE`, and so all that follow.
        likelihood: p(x | z, y).
        guide: q(z | x, y).
        encoder: the network that reads x.
        decoder: the likelihood's network.
        head: the guide's network on what is known of x and y.
        feature_dim: how many numbers the encoder makes of x.

    :raises InputError: parts do not fit, as of :class:`ConditionalVAE`. When it runs: labels that are not
        one whole number, from -1 to C - 1, for each datum.

    >>> SemiSupervisedVAE((4,), 2, num_classes=3).classify(torch.zeros(5, 4)).shape
    torch.Size([5, 3])
    """

    labels_may_be_unseen = True
    spread: ClassVar[float] = 1e-3

    def __init__(
        self,
        data_shape: Shape,
        latent_dim: int = 16,
        *,
        num_classes: int,
        classifier: NetworkFactory = MLP,
        classifier_weight: float = 50.0,
        prior: Callable[[int, AmortizedGuide], Prior] = StandardNormal,
        likelihood: Callable[[int, Shape, NetworkFactory], Likelihood] = Bernoulli,
        guide: Callable[[Shape, int, NetworkFactory], AmortizedGuide] = MeanFieldNormal,
        encoder: NetworkFactory = MLP,
        decoder: NetworkFactory = MLP,
        head: NetworkFactory = MLP,
        feature_dim: int = 128,
    ) -> None:
        parts: dict[str, Any] = {"prior": prior, "likelihood": likelihood, "guide": guide}
        parts |= {"encoder": encoder, "decoder": decoder, "head": head, "feature_dim": feature_dim}
        super().__init__(data_shape, latent_dim, num_classes=num_classes, **parts)
        if not 0 <= classifier_weight < math.inf:
            raise InputError(f"classifier_weight must not be negative, but is {classifier_weight}")
        self.classifier = Network.make(
            self.likelihood.reading(classifier), data_shape, (num_classes,)
        )
        check_reads_missing(self.likelihood, self.classifier, "classifier")
        self.classifier_weight = classifier_weight
        self.logits = nn.Parameter(torch.zeros(num_classes))  # of w

    def model(self, x: Tensor, y: Tensor) -> None:
        label, _, seen = self.read_labels(x, y)
        with pyro.plate("data", len(x)):
            drawn = pyro.sample("y", even_where(seen, self.logits), infer=SUMMED_OUT)  # (B | C)
            # a label that is not seen has no say, and where labels are drawn is the y of its datum
            p = dist.Categorical(logits=torch.where(seen, self.logits, 100 * drawn))
            label = pyro.sample("label", p.mask(seen.squeeze(-1)), obs=label)  # (B |)
            given = torch.where(seen, self.condition(label), drawn)
            z = pyro.sample("z", self.prior())  # (B | Z)
            pyro.sample("x", self.likelihood(join(z, given)), obs=x)  # (B | X)
            if self.training:
                q = dist.Categorical(logits=self.classifier(x)).mask(seen.squeeze(-1))
                log_q = self.classifier_weight * q.log_prob(label)
                pyro.factor("classifier", log_q - log_q.detach())  # 0, with a gradient

    def guide(self, x: Tensor, y: Tensor) -> None:
        _, given, seen = self.read_labels(x, y)
        features = self.features(x)
        with pyro.plate("data", len(x)):
            q = even_where(seen, spread_out(self.classifier(x), self.spread))
            drawn = pyro.sample("y", q, infer=SUMMED_OUT)  # (B | C)
            known = join(features, torch.where(seen, given, drawn))
            pyro.sample("z", self.recognition(known))  # (B | Z)

    def classify(self, x: Tensor) -> Tensor:
        """What the classifier makes of x: the probability of each class, ``batch | C``."""
        return self.classifier(x).softmax(-1)

    def read_labels(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Labels (B,), as vectors (B, C), both of class 0 where none is seen, and whether one is (B, 1)."""
        label, seen = seen_labels(y, len(self.logits))
        return label, self.read(x, label), seen
