"""Questions about real sentences in other words than theirs; for training alone.

The other words are of two sorts: a question is made of the sentence itself, turned round, with words
exchanged for similar ones; or it is made of another sentence that means nearly the same.
"""

import re

from . import gathered, real_sentences
from .draw import Draw
from .items import REFUSAL, Item, asked
from .reading_items import IMPERATIVES, real_question

_CLAUSE = r"(?:if|when|whenever|unless|until|because|since|so that|while|before|after|without|by)"
_LAST = re.compile(rf"^(?P<main>.{{12,}}?),? (?P<mark>{_CLAUSE}) (?P<clause>.{{8,}})\.$")
_FIRST = re.compile(
    r"^(?P<mark>If|When|Unless|While|Before|After|Because|Since) (?P<clause>[^,]{8,}), (?P<main>.{12,})\.$"
)
_HELPER = re.compile(
    r"^(?P<who>.{2,60}?) (?P<verb>is|are|was|can|must|may|should|will|has|have|cannot|does not|do not) (?P<rest>.{6,})\.$"
)
_OF_CLAUSE = {
    "if": ["What happens if {c}?", "What if {c}?", "{c}: what then?", "What is done when {c}?", "And if {c}?", "{c}"],
    "because": ["Why is it that {m}?", "{m}: why?", "What is the reason that {m}?", "How come {m}?", "Why?: {m}"],
    "before": ["When does it happen that {m}?", "{m}: when?", "At what time {m}?", "What comes {k} {c}?", "What is done {k} {c}?"],
    "by": ["How can it be that {m}?", "{m}: how?", "How is it done that {m}?", "In what way {m}?", "What does one do so that {m}?"],
    "so that": ["What must be done so that {c}?", "How do I make sure that {c}?", "What is needed so that {c}?"],
    "unless": ["Does it always hold that {m}?", "When is it not so that {m}?", "What if {c}?", "Is it certain that {m}?"],
}  # fmt: skip
_SORTS = {
    "when": "if",
    "whenever": "if",
    "since": "because",
    "until": "before",
    "while": "before",
    "after": "before",
    "without": "by",
}
_TURNED = {
    "is": ["Is {w} {r}?", "Why is {w} {r}?", "What is {w}?", "What is {r}?", "In which case is {w} {r}?", "What do we know about {w}?"],
    "are": ["Are {w} {r}?", "Why are {w} {r}?", "What are {w}?", "What is {r}?", "When are {w} {r}?", "How are {w}?"],
    "was": ["Was {w} {r}?", "Why was {w} {r}?", "What was {r}?"],
    "can": ["Can {w} {r}?", "How can {w} {r}?", "What can {w} do?", "Is it possible that {w} {r}?", "Who can {r}?", "What can {r}?"],
    "must": ["Must {w} {r}?", "Why must {w} {r}?", "What must {w} do?", "Does {w} have to {r}?", "What must {r}?"],
    "may": ["May {w} {r}?", "Could {w} {r}?", "What may {w} do?", "Is {w} allowed to {r}?"],
    "should": ["Should {w} {r}?", "Why should {w} {r}?", "What should {w} do?", "What is best for {w}?"],
    "will": ["Will {w} {r}?", "What will {w} do?", "When will {w} {r}?", "Does {w} {r}?"],
    "has": ["Has {w} {r}?", "What has {r}?", "What does {w} have?"],
    "have": ["Do {w} have {r}?", "What have {w}?", "Who has {r}?"],
    "cannot": ["Can {w} {r}?", "Why can't {w} {r}?", "What can {w} not do?", "Is it possible for {w} to {r}?"],
    "does not": ["Does {w} {r}?", "Why doesn't {w} {r}?", "What does {w} not do?"],
    "do not": ["Do {w} {r}?", "Why don't {w} {r}?", "What do {w} not do?"],
}  # fmt: skip
_DOING = [
    "How do I {v} {r}?", "What {v}s {r}?", "Which one {v}s {r}?", "Can it {v} {r}?", "I want to {v} {r}", "How to {v} {r}",
    "Where can I {v} {r}?", "Is there something to {v} {r}?", "What is the way to {v} {r}?", "{v} {r}", "Who {v}s {r}?",
]  # fmt: skip
_WORD = re.compile(r"[A-Za-z]+|[^A-Za-z]+")


def _small(text: str) -> str:
    """Without the capital letter that only begins a sentence."""
    return text[0].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def _question_of(draw: Draw, sentence: str) -> str | None:
    """The sentence turned round, in most of its own words."""
    forms: list[str] = []
    if found := _LAST.match(sentence) or _FIRST.match(sentence):
        mark = found["mark"].lower()
        sort = _OF_CLAUSE[_SORTS.get(mark, mark)]
        forms += [
            form.format(c=_small(found["clause"]), m=_small(found["main"]), k=mark) for form in sort
        ]
    if found := _HELPER.match(sentence):
        sort = _TURNED[found["verb"]]
        forms += [form.format(w=_small(found["who"]), r=found["rest"]) for form in sort]
    first, _, rest = sentence[:-1].partition(" ")
    verb = first.lower()
    verb = verb[:-1] if verb.endswith("s") and not verb.endswith("ss") else verb
    if rest and verb in IMPERATIVES:
        forms += [form.format(v=verb, r=rest) for form in _DOING]
    return draw.one(forms) if forms else None


def _exchanged(draw: Draw, text: str, chance: float) -> str:
    """Words exchanged for similar ones, left out, or spelt wrongly now and then."""
    found = gathered.held()
    similar = found.words if found else {}
    lost = 0.12 if draw.chance(0.4) else 0.0
    slips = 0.04 if draw.chance(0.15) else 0.0
    made = []
    for part in _WORD.findall(text):
        others = similar.get(part.lower())
        if others and draw.chance(chance):
            made.append(draw.one(others))
        elif part.isalpha() and len(part) > 3 and draw.chance(lost):
            continue
        elif slips and part.isalpha() and len(part) > 4 and draw.chance(slips):
            place = draw.between(1, len(part) - 2)
            made.append(part[:place] + part[place + 1] + part[place] + part[place + 2 :])
        else:
            made.append(part)
    return " ".join("".join(made).split())


def _shortened(draw: Draw, text: str) -> str:
    """At most a dozen words or so of a long question."""
    words = text.split()
    most = draw.between(7, 16)
    if len(words) <= most:
        return text
    cut = " ".join(words[:most]).rstrip(",;:(")
    return cut + ("?" if text.endswith("?") else "")


def question(draw: Draw, sentence: str, chance: float) -> str | None:
    """A question for the sentence; ``chance`` is how often a word is exchanged."""
    turned = _question_of(draw, sentence) if draw.chance(0.7) else None
    text = turned or real_question(draw, sentence)
    if text is None:
        return None
    text = _exchanged(draw, _shortened(draw, text), chance)
    if draw.chance(0.25):
        text = text.lower()
    if draw.chance(0.15):
        text = text.rstrip("?")
    return text if len(text) > 6 else None


def _true(draw: Draw, found: gathered.Gathered) -> tuple[int, str, str]:
    """The paragraph, the sentence of it that answers, and the question."""
    while True:
        if draw.chance(0.35) and found.pairs:
            said, meant = draw.one(found.pairs)
            home, true = found.sentences[meant]
            asks = question(draw, found.sentences[said][1], draw.one([0.0, 0.2]))
        else:
            home, true = draw.one(found.sentences)
            asks = question(draw, true, draw.one([0.2, 0.5, 0.8, 1.0]))
        if asks and len(real_sentences.content(true)) > 1:
            return home, true, asks


def _alike(draw: Draw, found: gathered.Gathered, home: int, asks: str) -> list[int]:
    """Other paragraphs, most of them near the one at ``home``; none has all words of the question."""
    words = {w.lower() for w in real_sentences.content(asks)}
    chosen: list[int] = []
    wanted = draw.between(1, 7)
    for _ in range(40):
        if len(chosen) == wanted:
            break
        near = draw.chance(0.65)
        place = home + draw.between(-15, 15) if near else draw.between(0, len(found.paragraphs) - 1)
        if not 0 <= place < len(found.paragraphs) or place in (home, *chosen):
            continue
        has = {w.lower() for w in real_sentences.content(" ".join(found.paragraphs[place]))}
        if len(words & has) < max(2, len(words)):
            chosen.append(place)
    return chosen


def meant_passages(draw: Draw, single: bool) -> Item:
    """Whole paragraphs, or ``single`` sentences, of which one answers or none does."""
    found = gathered.held()
    if found is None:
        raise SystemExit("Questions in other words need --texts and --meanings.")
    home, true, asks = _true(draw, found)
    others = [found.paragraphs[place] for place in _alike(draw, found, home, asks)]
    answers = not others or draw.chance(0.8)
    if single:
        units: list[tuple[str, ...]] = [(s,) for p in others for s in p if s != true][:7]
        fellows = [(s,) for s in found.paragraphs[home] if s != true]
        units = draw.shuffled(units + (fellows if answers else []))[: draw.between(1, 7)]
        mine: tuple[str, ...] = (true,)
    else:
        units, mine = [p for p in others if true not in p], found.paragraphs[home]
    if answers or not units:
        units, answers = [*units, mine], True
    units = draw.shuffled(units)
    answer = f"{true} [{units.index(mine) + 1}]" if answers else REFUSAL
    return asked([" ".join(unit) for unit in units], asks, answer, "meant")
