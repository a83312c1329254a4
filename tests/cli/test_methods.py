"""A further method on the command line: its class, an entry in the table, and no more."""

import json

from toy_method import Moved

from pyro_vae.cli.evidence import evidence_parser
from pyro_vae.inference.evidence.methods import METHODS


def test_a_method_of_the_table_has_its_options(call, vae, monkeypatch):
    monkeypatch.setitem(METHODS, "moved", Moved)
    words = "evidence runs/vae --num_particles 30 --json"
    weighed = json.loads(call(f"{words} --prior_share 0.2").out)
    moved = json.loads(call(f"{words} --method moved --shift 2.5 --start 2 --prior_share 0.2").out)
    assert abs(moved["mean"] - weighed["mean"] - 4.5) < 1e-9
    assert "moved by 4.5 nats" in moved["method"]
    text = call("evidence --help").out
    assert "moved          Move the figures of importance sampling by a constant." in text
    assert "--shift" in text
    assert "nats to add" in text
    for wrong, named in (
        ("--method moved --num_leapfrog 3", "--num_leapfrog"),
        ("--method ais --shift 1", "--shift; expected --method moved"),
        (
            "--method importance --num_leapfrog 3",
            "--method ais, smc, auto, sandwich or bidirectional",
        ),
        ("--method.shift 3", "--method moved --shift VALUE"),
        ("--method.shft 3", "ais, smc, auto, sandwich, bidirectional, exact or moved"),
        ("--method moved --shift far", "--shift"),
        ("--method moved --start middle", "--start"),
    ):
        outcome = call(f"evidence runs/vae {wrong}")
        assert outcome.code == 2
        assert named in outcome.err
        assert "Traceback" not in outcome.err


def test_the_text_of_an_option_is_short():
    texts = {action.dest: action.help or "" for action in evidence_parser()._actions}
    assert {dest: text for dest, text in texts.items() if len(text) > 140} == {}
    assert "16 (ais, sandwich, bidirectional), 2,000 (smc)" in texts["num_particles"]


def test_every_method_is_in_the_help(call):
    text = call("evidence --help").out
    for name in METHODS:
        assert f"\n  {name} " in text
    assert f"--method {{{','.join(METHODS)}}}" in text
    for option in (
        "--prior_share",
        "--num_temperatures",
        "--num_leapfrog",
        "--start",
        "--num_chains",
    ):
        assert option in text
