"""The VAE of data with labels for some of them."""

import math
from typing import Any, ClassVar

import pyro
import pyro.distributions as dist
import torch
from pyro.infer.util import is_validation_enabled
from torch import Tensor, nn

from pyro_vae.compatibility import check_reads_missing
from pyro_vae.errors import InputError
from pyro_vae.guides import GuideFactory, MeanFieldNormal
from pyro_vae.likelihoods import Bernoulli, LikelihoodFactory
from pyro_vae.models.conditional import ConditionalVAE
from pyro_vae.networks import MLP, Network, NetworkFactory, Shape, join
from pyro_vae.networks.conditions import check_labels
from pyro_vae.priors import PriorFactory, StandardNormal

SUMMED_OUT: Any = {"enumerate": "parallel"}


class SemiSupervisedVAE(ConditionalVAE):
    """Model data with some labels: y ~ Categorical(w), z ~ p(z), x ~ p(x | z, y).

    The guide is q(y | x) q(z | x, y). A label of -1 is missing. The evidence is log p(x, y) of a datum with
    a label and log p(x) of one without; ``fit`` sums over the missing y exactly. Site "y" is the class
    where the label is missing. Elsewhere site "label" observes the class, and "y" is uniform in model and
    guide, so it cancels.

    No ELBO trains q(y | x) from labels. In training mode, the gradient alone therefore has another term,
    classifier_weight log q(label | x). It is in no figure: neither in the ELBO that ``fit`` reports nor in
    an evidence. A share of 1/1000 of q(y | x) is uniform over the classes, because a classifier that is
    certain would leave classes out of the evidence.

    The default ELBO sums "y" out, and ``WakeSleep`` draws it. Most other objectives in
    :mod:`pyro_vae.inference.objectives` need draws with gradients, and refuse it.

    Args:
        data_shape: shape X of one datum.
        latent_dim: size Z of the latent vector.
        num_classes: C.
        classifier: the network of q(y | x), made from an input and an output shape.
        classifier_weight: weight of the classifier's term, where 1 is the weight of a datum.
        prior: p(z), made from the latent dimension and the guide.
        likelihood: p(x | z, y), made from Z + C, the data's shape and the decoder.
        guide: q(z | x, y), made from the shape of the features of x and y, Z and the head.
        encoder: the network that reads x, made from an input and an output shape.
        decoder: the likelihood's network, made from an input and an output shape.
        head: the guide's network on the features of x and y, made from an input and an output shape.
        feature_dim: number of features that the encoder gives.

    Raises:
        InputError: a part does not fit (see :class:`ConditionalVAE`), or ``classifier_weight`` is negative.
            When it runs: labels are not whole numbers from -1 to C - 1, one for each datum.

    Source: D. P. Kingma, D. J. Rezende, S. Mohamed, M. Welling, "Semi-supervised learning with deep
    generative models", 2014, https://arxiv.org/abs/1406.5298 (its M2).

    >>> SemiSupervisedVAE((4,), 2, num_classes=3).classify(torch.zeros(5, 4)).shape
    torch.Size([5, 3])
    """

    labels_may_be_unseen = True
    uniform_share: ClassVar[float] = 1e-3

    def __init__(
        self,
        data_shape: Shape,
        latent_dim: int = 16,
        *,
        num_classes: int,
        classifier: NetworkFactory = MLP,
        classifier_weight: float = 50.0,
        prior: PriorFactory = StandardNormal,
        likelihood: LikelihoodFactory = Bernoulli,
        guide: GuideFactory = MeanFieldNormal,
        encoder: NetworkFactory = MLP,
        decoder: NetworkFactory = MLP,
        head: NetworkFactory = MLP,
        feature_dim: int = 128,
    ) -> None:
        parts: dict[str, Any] = {"prior": prior, "likelihood": likelihood, "guide": guide}
        parts |= {"encoder": encoder, "decoder": decoder, "head": head, "feature_dim": feature_dim}
        super().__init__(data_shape, latent_dim, num_classes=num_classes, **parts)
        if not 0 <= classifier_weight < math.inf:
            raise InputError(
                f"classifier_weight is {classifier_weight}",
                subject="classifier_weight",
                expected="a finite number of at least 0",
            )
        classifier = self.likelihood.wrap_encoder(classifier)
        self.classifier = Network.make(classifier, data_shape, (num_classes,))
        check_reads_missing(self.likelihood, self.classifier, "classifier")
        self.classifier_weight = classifier_weight
        self.logits = nn.Parameter(torch.zeros(num_classes))  # of w

    def model(self, x: Tensor, y: Tensor) -> None:
        label, _, has_label = self.read_labels(x, y)
        with pyro.plate("data", len(x)):
            p = _uniform_where(has_label, self.logits)
            drawn = pyro.sample("y", p, infer=SUMMED_OUT)  # (B | C)
            # a missing label counts 0 nats; where labels are drawn, it is the "y" of its datum
            p = dist.Categorical(logits=torch.where(has_label, self.logits, 100 * drawn))
            label = pyro.sample("label", p.mask(has_label.squeeze(-1)), obs=label)  # (B |)
            condition = torch.where(has_label, self.condition(label), drawn)
            z = pyro.sample("z", self.prior())  # (B | Z)
            pyro.sample("x", self.likelihood(join(z, condition)), obs=x)  # (B | X)
            if self.training:
                q = dist.Categorical(logits=self.classifier(x)).mask(has_label.squeeze(-1))
                log_q = self.classifier_weight * q.log_prob(label)
                pyro.factor("classifier", log_q - log_q.detach())  # 0, with a gradient

    def guide(self, x: Tensor, y: Tensor) -> None:
        _, condition, has_label = self.read_labels(x, y)
        features = self.features(x)
        with pyro.plate("data", len(x)):
            q = _uniform_where(has_label, _add_uniform(self.classifier(x), self.uniform_share))
            drawn = pyro.sample("y", q, infer=SUMMED_OUT)  # (B | C)
            features = join(features, torch.where(has_label, condition, drawn))
            pyro.sample("z", self.recognition(features))  # (B | Z)

    def classify(self, x: Tensor) -> Tensor:
        """Return the classifier's probability of each class, ``batch | C``, before the uniform share."""
        return self.classifier(x).softmax(-1)

    def read_labels(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return labels (B,), labels as vectors (B, C), and which data have a label (B, 1).

        A missing label reads as class 0.
        """
        if is_validation_enabled():
            check_labels(y, len(self.logits), lowest=-1)
        label = y.clamp(min=0)
        return label, self.encode_condition(x, label), (y >= 0).unsqueeze(-1)


def _uniform_where(has_label: Tensor, logits: Tensor) -> dist.TorchDistribution:
    """Return the class, one-hot, ``B | C``, from logits, or uniform where there is a label."""
    return dist.OneHotCategorical(logits=torch.where(has_label, 0.0, logits))


def _add_uniform(logits: Tensor, share: float) -> Tensor:
    """Return log-probabilities, ``B, C``, of a mixture with the uniform distribution.

    >>> _add_uniform(torch.tensor([999.0, 0.0]), 0.1).exp()
    tensor([0.9500, 0.0500])
    """
    uniform = torch.full_like(logits, share / logits.shape[-1]).log()
    return torch.logaddexp(logits.log_softmax(-1) + math.log1p(-share), uniform)
