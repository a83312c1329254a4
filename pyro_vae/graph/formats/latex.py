"""Text as LaTeX writes it."""

import unicodedata

from pyro_vae.graph.layout.fonts import DASH, MINUS, TIMES


def latex(text: str) -> str:
    """Return ``text`` so that pdflatex prints it; letters that its fonts lack appear by number."""
    return "".join(map(_letter, text))


_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "_": r"\_",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    "-": r"{-}",
    TIMES: r"\ensuremath{\times}",
    DASH: r"\textendash{}",
    MINUS: r"\ensuremath{-}",
    "→": r"\ensuremath{\to}",
    "�": "?",
    " ": r"\ ",
}
_GREEK = """
alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho
varsigma sigma tau upsilon phi chi psi omega
""".split()  # noqa: SIM905
_CAPITALS = "alpha beta epsilon zeta eta iota kappa mu nu omicron rho tau chi".split()  # noqa: SIM905
_AS_LATIN = dict(zip(_CAPITALS, "ABEZHIKMNOPTX", strict=True))


def _letter(character: str) -> str:
    if character in _SPECIAL:
        return _SPECIAL[character]
    if " " < character <= "~":
        return character
    code = ord(character)
    if 0x3B1 <= code <= 0x3C9:
        name = _GREEK[code - 0x3B1]
        return "o" if name == "omicron" else rf"\ensuremath{{\{name}}}"
    if 0x391 <= code <= 0x3A9:
        name = _GREEK[code - 0x391]
        return _AS_LATIN.get(name) or rf"\ensuremath{{\{name.capitalize()}}}"
    plain = unicodedata.normalize("NFKD", character)
    if 0xC0 <= code <= 0x17F and plain[0].isascii():
        return character if code < 0x100 else _letter(plain[0])
    if character.isprintable() and plain != character and all(c.isascii() for c in plain):
        return "".join(map(_letter, plain))
    return rf"[U+{code:04X}]"
