"""Which likelihood suits data of which nothing is known but their values, as a configuration has it."""

from typing import Any

from pyro_vae.data import Column, DataSet, Kind
from pyro_vae.data.columns.kinds import kind_of_all
from pyro_vae.data.rows import chunks

Config = dict[str, Any]

_OF_KIND = {
    Kind.REAL: "HeteroscedasticNormal",
    Kind.DATE: "HeteroscedasticNormal",
    Kind.TIME: "HeteroscedasticNormal",
    Kind.POSITIVE: "LogNormal",
    Kind.COUNT: "NegativeBinomial",
    Kind.BINARY: "Bernoulli",
    Kind.GRADE: "Tokens",
    Kind.CATEGORY: "Tokens",
}


def likelihood_for(data: DataSet) -> Config:
    """The likelihood of data, or of the argument x, by their kind.

    Data on levels get probabilities: a density of values that recur can grow without bound. Columns of a
    table differ in how well they are explained, so each value has a scale of its own.
    """
    values = data.values
    if values.levels == 2:
        return _config("Bernoulli")
    if values.levels is not None:
        return _config("DiscretizedLogistic", levels=values.levels)
    columns = data.train.columns_of(data.train.main_argument)
    if columns is not None:
        return likelihood_of_columns(columns)
    if values.in_unit_interval and len(data.event_shape) > 1:
        return _config("ContinuousBernoulli")
    first = next(chunks(data.train.x)).flatten(1)
    kind = kind_of_all(first.T.numpy()) if data.train.scale is None else Kind.REAL
    if kind is Kind.GRADE:
        return likelihood_of(Column("", kind, highest=int(values.high)))
    if kind is Kind.REAL and len(data.event_shape) > 1:
        return _config("Normal")
    return likelihood_of(Column("", kind))


def likelihood_of_columns(columns: tuple[Column, ...]) -> Config:
    """The likelihood of a table: of each column by its kind."""
    each = [likelihood_of(column) for column in columns]
    if all(config == each[0] for config in each) and _OF_KIND[columns[0].kind] != "Tokens":
        return each[0]
    return _config("Heterogeneous", columns=each)


def likelihood_of(column: Column) -> Config:
    """The likelihood of one column."""
    name = _OF_KIND[column.kind]
    return _config(name, num_tokens=max(1, column.num_names)) if name == "Tokens" else _config(name)


def named(config: Config) -> str:
    """A part as a person reads it.

    >>> tokens = {"class_path": "pyro_vae.likelihoods.Tokens", "init_args": {"num_tokens": 3}}
    >>> named({"class_path": "pyro_vae.likelihoods.Missing", "init_args": {"likelihood": tokens}})
    'Missing(Tokens(num_tokens=3))'
    """
    name = config["class_path"].rpartition(".")[2]
    arguments = config.get("init_args", {})
    words = [
        named(value) if isinstance(value, dict) else f"{option}={value}"
        for option, value in arguments.items()
        if not isinstance(value, list)
    ]
    return f"{name}({', '.join(words)})" if words else name


def _config(name: str, **arguments: Any) -> Config:
    return {"class_path": f"pyro_vae.likelihoods.{name}", "init_args": arguments}
