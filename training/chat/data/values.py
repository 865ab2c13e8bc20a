"""Made-up values: names, places, paths, addresses, numbers, dates, texts."""

import string

from . import gathered
from .draw import Draw, Pool
from .vocabulary import ADJECTIVES, FIRST_NAMES, NOUNS, REAL_PLACES, SUBJECTS, VERBS

_ONSETS = (
    "b c d f g h j k l m n p r s t v w z br ch cl dr fl gr kr pl pr sh sk sl st th tr vr".split()
)
_VOWELS = "a e i o u a e i o u ai ea ei ia io oa ou".split()
_CODAS = ["", "", "", "n", "r", "l", "s", "m", "t", "k", "nd", "rn", "x", "ck", "lm", "st"]
_ENDINGS = "txt md csv json pdf png jpg log yaml toml py html xml docx zip wav db tar.gz".split()
_DOMAINS = "com org net io example dev eu local test info".split()


def invented(draw: Draw, least: int = 2, most: int = 3) -> str:
    """A word that no language has, in lower case."""

    def make() -> str:
        if (words := draw.words) and draw.chance(0.5):
            return words.made_up(draw) if draw.chance(0.7) else words.one(draw, "noun")
        parts = [
            draw.one(_ONSETS) + draw.one(_VOWELS) + (draw.one(_CODAS) if draw.chance(0.6) else "")
            for _ in range(most if draw.chance(0.25) else least)
        ]
        return "".join(parts)

    return draw.owned(make)


def surname(draw: Draw) -> str:
    return invented(draw).capitalize()


def person(draw: Draw) -> str:
    """First name, mostly with a surname."""
    first = draw.value(FIRST_NAMES) if draw.chance(0.7) else invented(draw).capitalize()
    if draw.chance(0.2):
        return first
    return f"{first} {surname(draw)}"


def place(draw: Draw) -> str:
    if draw.chance(0.4):
        return draw.value(REAL_PLACES)
    name = invented(draw).capitalize()
    form = draw.weighted({"": 6, "Port ": 1, "New ": 1, "Lake ": 0.5, "San ": 0.5})
    return (
        form + name + draw.weighted({"": 8, " Falls": 0.5, "ville": 0.5, " Bay": 0.5, "burg": 0.5})
    )


def stem(draw: Draw) -> str:
    """A part of a path, an address or an identifier."""
    first = draw.one([draw.value(NOUNS)[0], draw.value(ADJECTIVES), invented(draw, 1, 2)])
    if draw.chance(0.5):
        return first.replace(" ", "-")
    joint = draw.one(["_", "-"])
    second = draw.one([draw.value(NOUNS)[0], str(draw.between(1, 2030)), invented(draw, 1, 2)])
    return f"{first}{joint}{second}".replace(" ", joint)


def path(draw: Draw) -> str:
    def make() -> str:
        folders = [stem(draw) for _ in range(draw.between(0, 3))]
        start = draw.weighted({"": 3, "/": 3, "./": 0.7, "~/": 1, "../": 0.3, "C:\\": 0.3})
        name = stem(draw) + (f".{draw.one(_ENDINGS)}" if draw.chance(0.85) else "")
        if draw.chance(0.15):
            name = name.capitalize() if draw.chance(0.5) else name.upper()
        joint = "\\" if start == "C:\\" else "/"
        return start + joint.join([*folders, name])

    return draw.owned(make)


def url(draw: Draw) -> str:
    def make() -> str:
        host = draw.weighted({"": 3, "www.": 1, "docs.": 1, "api.": 1}) + stem(draw)
        tail = "/".join(stem(draw) for _ in range(draw.between(0, 3)))
        query = f"?{draw.one(['id', 'q', 'page', 'v'])}={draw.between(1, 999)}"
        scheme = draw.weighted({"https": 5, "http": 1})
        end = ("/" + tail) if tail else draw.one(["", "/"])
        ending = query if draw.chance(0.15) else (".html" if tail and draw.chance(0.2) else "")
        return f"{scheme}://{host.replace('_', '-')}.{draw.one(_DOMAINS)}{end}{ending}"

    return draw.owned(make)


def email(draw: Draw) -> str:
    user = draw.one([invented(draw), f"{draw.value(FIRST_NAMES)}.{surname(draw)}", stem(draw)])
    return f"{user.lower()}@{invented(draw)}.{draw.one(_DOMAINS)}"


def integer(draw: Draw) -> int:
    top = draw.weighted({9: 3, 20: 3, 100: 4, 1000: 3, 10000: 1.5, 1000000: 0.5})
    number = draw.between(0 if top > 100 else 1, top)
    return -number if draw.chance(0.02) else number


def decimal(draw: Draw) -> float:
    return round(draw.random.uniform(0, draw.one([1, 10, 100, 1000])), draw.one([1, 1, 2]))


_MONTHS = (
    "January February March April May June July August September October November December"
).split()


def date(draw: Draw) -> str:
    year, month, day = draw.between(1990, 2039), draw.between(1, 12), draw.between(1, 28)
    return draw.weighted(
        {
            f"{year}-{month:02}-{day:02}": 5,
            f"{day} {_MONTHS[month - 1]} {year}": 2,
            f"{_MONTHS[month - 1]} {day}, {year}": 1,
            f"{day}.{month}.{year}": 0.5,
            draw.one(["tomorrow", "today", "Monday", "Friday", "next Tuesday", "Sunday"]): 1,
        }
    )


def clock(draw: Draw) -> str:
    hour, minute = draw.between(0, 23), draw.one([0, 0, 15, 30, 45, draw.between(0, 59)])
    return draw.weighted(
        {
            f"{hour:02}:{minute:02}": 4,
            f"{hour % 12 + 1} {draw.one(['am', 'pm'])}": 1,
            f"{hour % 12 + 1}:{minute:02} {draw.one(['am', 'pm'])}": 1,
        }
    )


def code(draw: Draw) -> str:
    """An identifier such as AB-1234."""
    letters = "".join(draw.one(string.ascii_uppercase) for _ in range(draw.between(1, 3)))
    return letters + draw.one(["-", "", "/"]) + str(draw.between(10, 99999))


def expression(draw: Draw) -> str:
    def number() -> str:
        return (
            str(draw.between(0, 10 ** draw.between(1, 4)))
            if draw.chance(0.8)
            else str(decimal(draw))
        )

    sign = draw.one([" + ", " - ", " * ", " / ", "+", "*", "-", "/", " ** ", " % "])
    text = number() + sign + number()
    if draw.chance(0.3):
        other = draw.one([" + ", " - ", " * ", " / "])
        text = f"({text}){other}{number()}" if draw.chance(0.5) else text + other + number()
    return text


def _fragment(draw: Draw) -> str:
    """Some words in a row of a real sentence."""
    found = gathered.held()
    if found is None:
        raise ValueError("there are no gathered texts")
    while True:
        words = draw.one(found.sentences)[1].rstrip(".").split()
        start = draw.between(0, max(0, len(words) - 3))
        text = " ".join(words[start : start + draw.between(1, 8)]).strip(" ,;:-")
        if text and not set(text) & set("\"'{}[]\\\n") and text.isprintable():
            return text


def title(draw: Draw) -> str:
    """Two to four words that could be a title or a query."""
    if draw.words and draw.chance(0.25):
        return _fragment(draw)
    words = [draw.value(ADJECTIVES), draw.value(NOUNS)[0]]
    if draw.chance(0.4):
        words.append(draw.one(["for", "of", "in", "and", "with"]))
        words.append(draw.one([draw.value(NOUNS)[0] + "s", invented(draw).capitalize()]))
    text = " ".join(words)
    return text.capitalize() if draw.chance(0.5) else text


_FOREIGN = (
    [chr(c) for c in range(0x4E00, 0x4E00 + 2600)],
    [chr(c) for c in range(0x3042, 0x3094)],
    [chr(c) for c in range(0x0430, 0x0450)],
    [*"äöüßéèàçñóíåøæłžš", *"abcdefghijklmnoprstuvz"],
)


def foreign(draw: Draw) -> str:
    """Letters of another alphabet: only good for copying."""
    letters = draw.one(_FOREIGN)

    def word() -> str:
        return "".join(draw.one(letters) for _ in range(draw.between(2, 6)))

    return " ".join(word() for _ in range(draw.weighted({1: 4, 2: 1})))


def text(draw: Draw) -> str:
    """A short text such as a message: words, often a sentence."""
    kind = draw.weighted({"sentence": 5, "title": 3, "foreign": 0.5, "invented": 1, "word": 1})
    if kind == "title":
        return title(draw)
    if kind == "foreign":
        return foreign(draw)
    if kind == "invented":
        return " ".join(invented(draw) for _ in range(draw.between(1, 4)))
    if kind == "word":
        return draw.one([draw.value(NOUNS)[0], draw.value(ADJECTIVES)])
    who = draw.weighted({draw.value(SUBJECTS): 4, person(draw): 1, "We": 1, "I": 1})
    what = f"{draw.value(VERBS)[0]} the {draw.value(ADJECTIVES)} {draw.value(NOUNS)[0]}"
    when = draw.weighted({"": 3, f" at {clock(draw)}": 1, f" on {date(draw)}": 1, " again": 1})
    line = f"{who} {draw.one(['will', 'must', 'can', 'should', 'did not'])} {what}{when}"
    return line + draw.one(["", ".", "!"])


LANGUAGES = Pool(
    "English German French Spanish Italian Polish Dutch Danish Greek Turkish Czech Swedish "
    "Finnish Norwegian Japanese Korean Chinese Hindi Arabic Welsh Irish Latvian".split()
)
