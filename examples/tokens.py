"""Sentences of unlike length: a VAE whose latent says what a sentence is about."""

import argparse
from functools import partial

import torch

from pyro_vae import fit, log_evidence, prior_samples
from pyro_vae.models import TokenVAE

WORDS = [".", "the", "cat", "dog", "ship", "boat", "sleeps", "barks", "sails", "sinks", "today"]
SUBJECTS = {
    "cat": ("sleeps",),
    "dog": ("sleeps", "barks"),
    "ship": ("sails",),
    "boat": ("sails", "sinks"),
}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="a second or two, to see that it runs")
smoke = parser.parse_args().smoke

torch.manual_seed(0)


def sentence() -> list[int]:
    subject = list(SUBJECTS)[int(torch.randint(4, ()))]
    verbs = SUBJECTS[subject]
    said = ["the", subject, verbs[int(torch.randint(len(verbs), ()))]] + ["today"] * int(
        torch.randint(2, ())
    )
    return [WORDS.index(word) for word in said] + [0] * (5 - len(said))  # "." ends it


x = torch.tensor([sentence() for _ in range(100 if smoke else 1000)])
vae = TokenVAE((5,), 2, num_tokens=len(WORDS), end=0, word_dropout=0.3, hidden_dim=32)
adam = partial(torch.optim.Adam, lr=5e-3)
fit(vae, x, epochs=1 if smoke else 20, kl_warmup=8, optimizer=adam, progress=False)
evidence = log_evidence(vae, x, num_particles=10 if smoke else 100, seed=0)
best = -3.5 * torch.tensor(2.0).log()  # minus the entropy of subject, verb and "today"
print(f"log p(x) = {evidence.mean:.2f} nats a sentence; no model has more than {best:.2f}")
for numbers in prior_samples(vae, x[:5], seed=0)["x"].value.long():
    words = [WORDS[number] for number in numbers if number]
    print(" ", *words)
