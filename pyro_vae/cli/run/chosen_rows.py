"""Rows that a run's model makes up for ``--where``, ``--per_class`` and ``--report``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jsonargparse import Namespace

from pyro_vae.cli.output.console import note
from pyro_vae.cli.run.trained import TrainedModel
from pyro_vae.errors import InputError, at_least_1
from pyro_vae.inference.synthesis.synthesize import OVERSAMPLING, Synthesis, is_poor, synthesize
from pyro_vae.inference.synthesis.utility import target_place
from pyro_vae.program.contract import signature

NO_DATA = "the data are not there, so numbers have all decimals, and no range"


@dataclass(frozen=True)
class Wanted:
    """Hold what rows are to have: values of columns, or a label."""

    where: Mapping[str, Any]
    label: str | None = None


def conditions(words: Sequence[str]) -> dict[str, str]:
    """Return the values of ``--where`` by column.

    >>> conditions(["sex=Female", "income=>50K"])
    {'sex': 'Female', 'income': '>50K'}

    Raises:
        InputError: a word is no pair, or a column is there twice.
    """
    pairs = [word.partition("=") for word in words]
    names = [name for name, _, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"--where gives {twice!r} two values", subject="--where", expected="one")
    for name, equals, value in pairs:
        if not (name and equals and value):
            word = f"{name}{equals}{value}"
            raise InputError(
                f"--where cannot be {word!r}",
                subject="--where",
                expected="pairs such as sex=Female",
            )
    return {name: value for name, _, value in pairs}


def chosen_rows(trained: TrainedModel, options: Namespace, num: int) -> tuple[Synthesis, list[str]]:
    """Return the made-up rows that the options ask for, and the label of each one, if labels are given."""
    if trained.arguments:
        raise InputError(
            "the run's model takes columns by name, and rows are made up for a model of one x",
            subject="--arguments",
            remedy="leave --where, --per_class and --report out",
        )
    if options.per_class is not None and options.num is not None:
        raise InputError(
            "--per_class says how many rows of each class there are, and --num how many in all",
            subject="--num",
            remedy="leave one of them out",
        )
    wanted = _wanted(trained, options)
    num = num if options.per_class is None else at_least_1("--per_class", options.per_class)
    parts, labels = [], list[str]()
    known = trained.rows_to_compare
    if known is None and trained.split.columns:
        note(NO_DATA)
    source = trained.split if known is trained.split else trained.data
    for number, each in enumerate(wanted):
        parts.append(
            synthesize(
                trained.program,
                source,
                num,
                where=each.where,
                label=each.label,
                oversampling=OVERSAMPLING,
                seed=trained.seed + number,
                device=trained.device,
            )
        )
        labels += [] if each.label is None else [each.label] * num
        _say(each, parts[-1])
    joined = replace(parts[0], x=torch.cat([part.x for part in parts]))
    return joined, labels


def _say(wanted: Wanted, made: Synthesis) -> None:
    if made.ess is None:
        return
    what = ", ".join(f"{name}={value}" for name, value in wanted.where.items()) or wanted.label
    note(f"{what}: {len(made):,} rows{made.weights_in_words()}")
    if is_poor(made):
        note("few draws carry the weight, so rows recur: give fewer columns, or draw fewer rows")


def _wanted(trained: TrainedModel, options: Namespace) -> list[Wanted]:
    """Return what each group of rows is to have."""
    where = conditions(options.where or ())
    number = signature(trained.program).number
    takes_labels = trained.split.labels is not None and number is not None and number > 1
    name = trained.label or "label"
    label = where.pop(name) if takes_labels and name in where else None
    if options.per_class is None:
        return [Wanted(where, label)]
    if takes_labels:
        labels = trained.data.train.labels
        classes = sorted(set(labels[labels >= 0].tolist())) if labels is not None else []
        names = trained.data.train.class_names
        return [Wanted(where, str(k) if names is None else names[k]) for k in classes]
    if options.target is None or trained.data.train.columns is None:
        raise InputError(
            "--per_class needs classes, and the run's model takes no labels",
            subject="--per_class",
            remedy="name the column that holds them by --target (of a table), or fit a model that takes "
            "labels, such as ConditionalVAE",
        )
    column = trained.data.train.columns[target_place(trained.data.train.columns, options.target)]
    each = column.categories or tuple(map(str, range(column.num_categories)))
    return [Wanted(where | {options.target: value}) for value in each]
