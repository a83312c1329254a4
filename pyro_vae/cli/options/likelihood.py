"""The likelihood that suits data, chosen by their values alone, in the form that a configuration has."""

from typing import Any

from pyro_vae.data import Column, DataSet, Kind
from pyro_vae.data.columns.kinds import kind_of_all
from pyro_vae.data.rows import chunks

PartConfig = dict[str, Any]  # class_path and init_args

_BY_KIND = {
    Kind.REAL: "HeteroscedasticNormal",
    Kind.DATE: "HeteroscedasticNormal",
    Kind.TIME: "HeteroscedasticNormal",
    Kind.POSITIVE: "LogNormal",
    Kind.COUNT: "NegativeBinomial",
    Kind.BINARY: "Bernoulli",
    Kind.GRADE: "Tokens",
    Kind.CATEGORY: "Tokens",
}


def likelihood_for(data: DataSet) -> PartConfig:
    """Return the likelihood of data, or of the argument x.

    Values on levels get probabilities, because a density of values that recur can grow without bound. Each
    value of a table has its own scale, because the model explains columns unequally well.
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


def likelihood_of_columns(columns: tuple[Column, ...]) -> PartConfig:
    """Return the likelihood of a table."""
    each = [likelihood_of(column) for column in columns]
    if all(config == each[0] for config in each) and _BY_KIND[columns[0].kind] != "Tokens":
        return each[0]
    return _config("Heterogeneous", columns=each)


def likelihood_of(column: Column) -> PartConfig:
    """Return the likelihood of one column."""
    name = _BY_KIND[column.kind]
    return (
        _config(name, num_tokens=max(1, column.num_categories))
        if name == "Tokens"
        else _config(name)
    )


def display(config: PartConfig) -> str:
    """Return a part in short.

    >>> tokens = {"class_path": "pyro_vae.likelihoods.Tokens", "init_args": {"num_tokens": 3}}
    >>> display({"class_path": "pyro_vae.likelihoods.Missing", "init_args": {"likelihood": tokens}})
    'Missing(Tokens(num_tokens=3))'
    """
    name = config["class_path"].rpartition(".")[2]
    arguments = config.get("init_args", {})
    words = [
        display(value) if isinstance(value, dict) else f"{option}={value}"
        for option, value in arguments.items()
        if not isinstance(value, list)
    ]
    return f"{name}({', '.join(words)})" if words else name


def _config(name: str, **arguments: Any) -> PartConfig:
    return {"class_path": f"pyro_vae.likelihoods.{name}", "init_args": arguments}
