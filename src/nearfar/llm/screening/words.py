"""Finders for addresses of mail, secrets, and names from a list."""

import re
from collections.abc import Iterable, Iterator

from .folding import folded

_MAIL = re.compile(
    r"(?<=[\w.+%'\"-])@((?:[^\W_](?:[\w-]{0,62})\.){1,8})(?:xn--[\w-]{2,59}|[^\W\d_]{2,24})(?![\w@(])"
)
_MAIL_TRICKS = re.compile(
    r"[\w+%-](?: ?[\[({<] ?(?:at|@|arroba) ?[\])}>] ?| at | @ )"
    r"(?:[\w-]{1,63}(?: ?[\[({<] ?(?:dot|\.|punkt|punto) ?[\])}>] ?| dot | ?\. ?)){1,8}[a-z]{2,24}(?!\w)",
    re.IGNORECASE,
)
_SAID_AT = re.compile(r" at ", re.IGNORECASE)
_END_OF_SENTENCE = re.compile(r"(?<! )\. ")
_SAID_DOT = re.compile(r"[\[({<] ?(?:dot|\.|punkt|punto) ?[\])}>]| dot | \. ", re.IGNORECASE)
_VERSIONS = re.compile(r"v?\d+\.\d+\.")

_LEFT = r"(?<![A-Za-z0-9_-])"
_SECRET = re.compile(
    rf"""
      {_LEFT}(?:sk|pk|rk|xai|gsk|pplx|hf|ghp|gho|ghs|ghu|ghr|github_pat|glpat|npm|pypi|shpat|dop_v1|nvapi)
          [-_](?=[A-Za-z_-]{{0,200}}\d)[A-Za-z0-9_-]{{16,400}}
    | {_LEFT}xox[abeoprs]-[A-Za-z0-9-]{{10,200}}
    | {_LEFT}AIza[A-Za-z0-9_-]{{30,60}}
    | {_LEFT}(?:AKIA|ASIA)[A-Z0-9]{{16}}(?![A-Za-z0-9])
    | {_LEFT}SG\.[A-Za-z0-9_-]{{16,40}}\.[A-Za-z0-9_-]{{16,60}}
    | {_LEFT}eyJ[A-Za-z0-9_-]{{10,4000}}\.[A-Za-z0-9_-]{{10,8000}}\.[A-Za-z0-9_-]{{8,2000}}
    | -----BEGIN\ (?:[A-Z]{{2,12}}\ ){{0,3}}PRIVATE\ KEY-----
    | \bBearer\ +(?=[A-Za-z._~+/=-]{{0,200}}\d)[A-Za-z0-9._~+/=-]{{16,4000}}
    | ://[^\s/@:]{{0,100}}:[^\s/@{{}}$<]{{3,200}}@(?=[\w\[])
    """,
    re.VERBOSE,
)
_ASSIGNED = re.compile(
    r"(?:pass(?:word|wd|phrase|wort|code)|pwd|secret|api[ _-]?key|access[ _-]?key|private[ _-]?key"
    r"|(?:auth|access|refresh|api)[ _-]?token|client[ _-]?secret|kennwort|contrase[n]a|mot de passe)"
    r"[\"'`]{0,2}(?: {0,3}[:=]{1,2}>? {0,3}| is | ist | es | est )[\"'`]{0,2}([^\s\"'`,;<>(){}\[\]$*]{6,200})",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(
    r"(?:your|my|the|some|example|change|insert|enter|none|null|true|false|string|required|os\.|env|self\."
    r"|config|settings|process\.|secrets?\.|keyring|xxx|\.\.\.|https?:)",
    re.IGNORECASE,
)
_ISSUED = (
    *(
        "sk",
        "pk",
        "rk",
        "xai",
        "gsk",
        "pplx",
        "hf_",
        "hf-",
        "ghp",
        "gho",
        "ghs",
        "ghu",
        "ghr",
        "github_pat",
    ),
    *(
        "glpat",
        "npm_",
        "pypi",
        "shpat",
        "dop_v1",
        "nvapi",
        "xox",
        "AIza",
        "AKIA",
        "ASIA",
        "SG.",
        "eyJ",
    ),
    *("PRIVATE KEY", "Bearer", "://"),
)
"""One of these stands in every text that ``_SECRET`` finds something in."""
_SAID = ("pass", "pwd", "secret", "key", "token", "kennwort", "contrase")
_WORD = re.compile(r"\w+")


def mails(text: str) -> Iterator[None]:
    """Addresses of mail, also as "(at)" and "dot" hide them."""
    if "@" in text:
        for found in _MAIL.finditer(text):
            clone = (
                text.startswith("git", max(0, found.start() - 3))
                and text[found.end() : found.end() + 1] == ":"
            )
            if not clone and not _VERSIONS.match(found[1]):
                yield None
    for found in _MAIL_TRICKS.finditer(text):
        written = found.group()
        if _SAID_AT.search(written):
            meant = _SAID_DOT.search(written) is not None
        else:
            meant = " @ " not in written or not _END_OF_SENTENCE.search(written)
        if meant:
            yield None


def secrets(text: str) -> Iterator[None]:
    """Keys by the form that their issuers give them, and what stands after the word for one."""
    if any(word in text for word in _ISSUED):
        yield from (None for _ in _SECRET.finditer(text))
    small = text.lower()
    if not any(word in small for word in _SAID):
        return
    for found in _ASSIGNED.finditer(text):
        value = found[1].rstrip(".!?")
        plain = value.replace("_", "").replace("-", "").isalpha()
        if len(value) >= 6 and not plain and not _NO_SECRET.match(value):
            yield None


class Names:
    """Finds names of a list, in any case and with or without accents."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_first: dict[str, list[list[str]]] = {}
        self._inside: list[str] = []
        for name in names:
            plain = folded(name).casefold()
            words = _WORD.findall(plain)
            if not words:
                continue
            if any(ord(c) >= 0x2E80 for c in plain):  # written without spaces between words
                self._inside.append("".join(words))
            else:
                self._by_first.setdefault(words[0], []).append(words)

    def __call__(self, text: str) -> Iterator[None]:
        """One for each name that is found; ``text`` is folded."""
        plain = text.casefold()
        yield from (None for name in self._inside if name in plain)
        if not self._by_first:
            return
        words = _WORD.findall(plain)
        for place, word in enumerate(words):
            for name in self._by_first.get(word, ()):
                if words[place : place + len(name)] == name:
                    yield None
