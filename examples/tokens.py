"""Model sentences of different lengths by a VAE whose latent holds the subject."""

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
parser.add_argument("--smoke", action="store_true", help="run for a second or two only")
smoke = parser.parse_args().smoke

torch.manual_seed(0)


def sentence() -> list[int]:
    subject = list(SUBJECTS)[int(torch.randint(4, ()))]
    verbs = SUBJECTS[subject]
    words = ["the", subject, verbs[int(torch.randint(len(verbs), ()))]]
    words += ["today"] * int(torch.randint(2, ()))
    return [WORDS.index(word) for word in words] + [0] * (5 - len(words))  # "." ends it


x = torch.tensor([sentence() for _ in range(100 if smoke else 1000)])
vae = TokenVAE((5,), 2, num_tokens=len(WORDS), end=0, word_dropout=0.3, hidden_dim=32)
adam = partial(torch.optim.Adam, lr=5e-3)
fit(vae, x, epochs=1 if smoke else 20, kl_warmup=8, optimizer=adam, progress=False)
evidence = log_evidence(vae, x, num_particles=10 if smoke else 100, seed=0)
bound = -3.5 * torch.tensor(2.0).log()  # minus the entropy of subject, verb and "today"
print(f"log p(x) = {evidence.mean:.2f} nats a sentence; no model exceeds {bound:.2f}")
for token_ids in prior_samples(vae, x[:5], num_draws=1, seed=0).predictive["x"][0].long():
    words = [WORDS[token_id] for token_id in token_ids if token_id]
    print(" ", *words)
