"""A model without a guide, played against a discriminator, on the command line."""

import json
from pathlib import Path

import yaml

FIT = (
    "fit --model GAN --model.latent_dim 2 --data table.csv --batch_size 16 --epochs 2 --elbo Adversarial "
    "--elbo.loss Relativistic --elbo.penalty R1R2 --elbo.penalty.weight 0.5 --elbo.discriminator MLP "
    "--elbo.discriminator.hidden_dims [8] --elbo.discriminator_options {'lr':0.004}"
)


def last(folder: str) -> dict[str, float]:
    return json.loads(Path(folder, "metrics.jsonl").read_text().splitlines()[-1])


def test_a_gan_is_fitted_resumed_and_used(call):
    fitted = call(FIT, "--validation 20 --out runs/a")
    assert fitted.code == 0, fitted.err
    assert "validation rows are not used" in fitted.err
    assert "discriminator" in fitted.err
    options = yaml.safe_load(Path("runs/a/config.yaml").read_text())["elbo"]["init_args"]
    assert options["penalty"]["init_args"] == {"weight": 0.5}
    assert options["discriminator_options"] == {"lr": 0.004}
    assert {"generator_loss", "discriminator_loss", "told_apart"} <= last("runs/a").keys()
    assert call("fit --resume runs/a --epochs 3").code == 0
    assert call(FIT, "--validation 20 --epochs 3 --out runs/b").code == 0
    assert last("runs/a") == last("runs/b")
    call("reconstruct runs/a").refuses("runs/a", "without a guide")
    assert "--method ais --start prior" in fitted.err
    assert "reconstruct" not in fitted.err
    weighed = "--method ais --start prior --num_temperatures 5 --num_particles 2"
    for words in ("sample runs/a", "graph runs/a", f"evidence runs/a {weighed}"):
        outcome = call(words)
        assert outcome.code == 0, outcome.err


RESTS_ON_A_GUIDE = {  # the words of a verb -> what to do instead
    "reconstruct": "pyro-vae sample",
    "interpolate --from 0 --to 1": "traverse",
    "latents": "--method ais --start prior",
    "latents --method guide": "--method ais --start prior",
    "posterior": "--method ais --start prior",
    "posterior --method guide": "--method ais --start prior",
    "impute": "a model with a guide",
    "disentanglement": "a model with a guide",
    "traverse --attributes a": "--attributes out",
    "score": "--method ais",
    "score --by typicality": "--method ais",
    "score --by regret": "--method ais",
    "score --by dose --method ais": "--by surprise",
    "score --by reconstruction --method ais": "--by surprise",
}


def test_what_rests_on_a_guide_says_so_without_one(call):
    assert call(FIT, "--validation 20 --out runs/a").code == 0
    for words, remedy in RESTS_ON_A_GUIDE.items():
        verb, *options = words.split(maxsplit=1)
        call(f"{verb} runs/a", *options).refuses("without a guide", remedy)


def test_what_rests_on_none_has_an_answer(call):
    assert call(FIT, "--validation 20 --out runs/a").code == 0
    annealed = "--method ais --start prior --num_temperatures 3"
    for words in (
        f"latents runs/a {annealed} --num_particles 4 --split test",
        f"posterior runs/a {annealed} --num_draws 4 --split test",
        "traverse runs/a --out moves.csv",
    ):
        outcome = call(words)
        assert outcome.code == 0, (words, outcome.err)


def test_images_have_sheets_of_samples(call):
    networks = "--model.generator DCGANGenerator --elbo.discriminator DCGANDiscriminator"
    small = "--model.generator.channels [4,4] --elbo.discriminator.channels [4,4]"
    fit = "fit --model GAN --data digits --batch_size 512 --epochs 1 --elbo Adversarial"
    outcome = call(fit, networks, small, "--out runs/digits")
    assert outcome.code == 0, outcome.err
    assert Path("runs/digits/samples/epoch_0001.png").is_file()


def test_what_is_refused(call):
    call(FIT.replace("R1R2", "R1R3"), "--out runs/a").refuses("--elbo.penalty", "R1R2")
    call(FIT, "--beta 2 --out runs/a").refuses("Adversarial", "KL")
    vae = "fit --model VAE --data digits --binarize threshold --elbo Adversarial --out runs/a"
    call(vae).refuses("with_noise", "FixedScaleNormal")
