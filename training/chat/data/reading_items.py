"""Examples about passages: the sentence that answers, with its number, or that none does."""

from collections.abc import Iterable
from functools import lru_cache

from . import gathered, real_sentences, values
from .draw import Draw, Pool, Side
from .facts import Attribute, Fact, Thing, attributes_of, fact, open_attributes, thing
from .items import REFUSAL, Item, asked


def _real(side: Side) -> tuple[tuple[str, ...], ...]:
    """Paragraphs of this side that hold no sentence of the other."""
    return _divided(side, gathered.held() if side == "train" else None)


@lru_cache
def _divided(side: Side, more: gathered.Gathered | None) -> tuple[tuple[str, ...], ...]:
    paragraphs = real_sentences.passages(side)
    other = real_sentences.passages("train" if side == "eval" else "eval")
    known = {s for p in other for s in p}
    if side == "train":  # what both have is left to training, but for the gathered texts
        return paragraphs + _without(known, more.paragraphs if more else [])
    return _without(known, paragraphs)


def _without(known: set[str], paragraphs: Iterable[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    kept = (tuple(s for s in p if s not in known) for p in paragraphs)
    return tuple(p for p in kept if p)


def _distractors(draw: Draw, true: Fact, known: list[Attribute], count: int) -> list[str]:
    """Sentences that share the thing or the attribute with the true one, or neither."""
    others = [a for a in known if a.name != true.attribute.name]
    fellows = [thing(draw) for _ in range(2)]
    fellows += [Thing(true.thing.kind, _renamed(draw, true.thing)) for _ in range(2)]
    made = []
    for _ in range(count):
        how = draw.weighted({"same thing": 4, "same attribute": 4, "other": 2})
        if how == "same thing":
            about, attribute = true.thing, draw.one(others)
            others = [a for a in others if a.name != attribute.name] or others
        elif how == "same attribute":
            about, attribute = draw.one(fellows[2:]), true.attribute
        else:
            about = draw.one(fellows)
            attribute = draw.one(
                known if about.kind == true.thing.kind else attributes_of(about.kind)
            )
        made.append(fact(draw, about, attribute).statement(draw))
    return list(dict.fromkeys(made))


def _renamed(draw: Draw, known: Thing) -> str:
    """Another thing of the kind: the same words around another invented name."""
    if known.kind == "person":
        return values.person(draw)
    words = known.name.split()
    name = next(w for w in words if w[0].isupper())
    return " ".join(values.invented(draw).capitalize() if w == name else w for w in words)


def _grouped(draw: Draw, sentences: list[str], most: int) -> list[list[str]]:
    """Sentences as at most ``most`` passages."""
    wanted = draw.between(1, min(most, len(sentences)))
    groups: list[list[str]] = [[] for _ in range(wanted)]
    for place, sentence in enumerate(sentences):
        groups[place if place < wanted else draw.between(0, wanted - 1)].append(sentence)
    return groups


def _finished(
    draw: Draw, groups: list[list[str]], true: str | None, question: str, kind: str
) -> Item:
    groups = draw.shuffled([draw.shuffled(group) for group in groups])
    passages = [" ".join(group) for group in groups]
    answer = REFUSAL
    if true is not None:
        number = next(n for n, group in enumerate(groups, 1) if true in group)
        answer = f"{true} [{number}]"
    return asked(passages, question, answer, kind)


def invented_facts(draw: Draw, most: int, passages: int = 8) -> Item:
    """Facts about invented things; ``passages`` = 0: each sentence stands alone."""
    about = thing(draw)
    known = (
        open_attributes(draw, 8) if draw.words and draw.chance(0.55) else attributes_of(about.kind)
    )
    attribute = draw.one(known)
    true = fact(draw, about, attribute)
    answers = draw.chance(0.75)
    statement = true.statement(draw) if answers else None
    others = _distractors(draw, true, known, draw.between(0 if answers else 1, most))
    if not answers:
        others = [o for o in others if not (about.name.lower() in o.lower() and true.value in o)]
    others = [o for o in others if o != statement]
    if draw.chance(0.2) and most > 3:
        others += draw.one(_real(draw.side))[:2]
    sentences = ([statement] if statement else []) + others
    if not sentences:  # all that was said might have answered
        return invented_facts(draw, most, passages)
    if passages == 0:
        groups = [[sentence] for sentence in sentences][:8]
    else:
        groups = _grouped(draw, sentences, passages)
    if statement and passages and draw.chance(0.12) and about.kind != "person":
        return _with_pronoun(draw, true, known, groups, statement)
    return _finished(draw, groups, statement, true.question(draw), "facts")


def _with_pronoun(
    draw: Draw, true: Fact, known: list[Attribute], groups: list[list[str]], statement: str
) -> Item:
    """The sentence before names the thing; the one that answers says "it"."""
    others = [a for a in known if a.name != true.attribute.name]
    before = fact(draw, true.thing, draw.one(others)).statement(draw)
    said = true.statement(draw, "it")
    kept = [
        [s for s in g if s != statement and true.thing.name.lower() not in s.lower()]
        for g in groups
    ]
    kept = [g for g in kept if g]
    pair = f"{before} {said}"
    groups = draw.shuffled([*kept, [pair]])
    number = groups.index([pair]) + 1
    return asked([" ".join(g) for g in groups], true.question(draw), f"{said} [{number}]", "facts")


_WORDS_1 = Pool([
    "What is said about {a}?", "What about {a}?", "Tell me about {a}.", "What is {a}?", "How does {a} work?",
    "Explain {a}.", "When does {a} matter?", "Where does {a} come in?", "{a}?", "What do I need to know about {a}?",
])  # fmt: skip
_WORDS_2 = Pool([
    "What is said about {a} and {b}?", "How do {a} and {b} go together?", "What does {a} have to do with {b}?",
    "Which {a} is about {b}?", "Where do {a} and {b} meet?", "How is {a} used with {b}?", "Does {a} need {b}?",
    "What happens to {b} with {a}?", "When is {a} {b}?", "Why {a} and {b}?", "Is there a {a} for {b}?",
    "What happens when {a} {b}?", "How can I {a} {b}?", "Which {b} has {a}?", "What is the {a} of {b}?",
    "Can {a} be {b}?", "{a} {b}?", "How does one {a} the {b}?", "What if {a} is {b}?", "Who decides on {a} {b}?",
])  # fmt: skip
_WORDS_3 = Pool([
    "What does {a} do with {b} and {c}?", "How do {a}, {b} and {c} go together?", "When does {a} {b} the {c}?",
    "Which {a} {b} {c}?", "Why does {a} {b} {c}?", "What is {a} {b} in {c}?", "How can {a} {b} a {c}?",
    "Is {a} {b} for {c}?", "What happens to {a} when {b} is {c}?", "Where is the {a} {b} of {c}?",
    "Can I {a} {b} with {c}?", "What about {a} {b} if {c}?", "{a} {b} {c}?", "Does {a} {b} {c}?",
])  # fmt: skip
_SUBJECT = Pool([
    "What {v} {s}?", "What do we know about {s}?", "Tell me what {s} {v}.", "{s}: what about it?",
    "What is written about {s}?", "What is true of {s}?", "Can you explain {s}?", "How is it with {s}?",
])  # fmt: skip
_ORDER = Pool([
    "How do I {s}?", "How can I {s}?", "Which one can {s}?", "What do I use to {s}?", "Is it possible to {s}?",
    "What will {s}?", "I want to {s}. How?", "What helps to {s}?", "Is there a way to {s}?", "Who or what can {s}?",
])  # fmt: skip

# Words that docstrings use, and what people say in their place.
SIMILAR = {
    key: words.split(",")
    for key, words in (
        pair.split(":")
        for pair in """\
return:give,get,yield;returns:gives,yields;create:make,build;delete:remove,erase;remove:delete,drop;raise:throw,cause;
raised:thrown;error:failure,problem;errors:failures,problems;start:begin;starts:begins;stop:end,halt;file:document;
directory:folder;directories:folders;folder:directory;read:load;write:save,store;open:access;close:shut;find:locate,look up;
list:series;number:count,amount;string:text;strings:texts;change:modify,alter;changes:modifies;check:test,verify;
convert:turn,transform;converts:turns;send:transmit;receive:get,obtain;wait:pause;called:invoked,run;call:invoke,run;
default:standard,usual;optional:not required;required:needed,necessary;specified:given,named;current:present;
previous:earlier,last;following:next;begin:start;large:big;small:little;quick:fast;fast:quick;whole:complete,entire;
complete:whole,full;empty:blank;new:fresh;old:former;show:display;display:show;print:show,output;copy:duplicate;
move:shift;combine:join,merge;split:divide;compare:match;equal:same;different:other;contains:holds,has;contain:hold,have;
provides:offers,gives;provide:offer;supports:allows;support:allow;allowed:permitted;execute:run;executed:run;parse:read,analyse;
parsed:read;message:note,text;messages:notes;address:location;length:size;size:length,extent;path:location;name:title;
user:person;process:program;thread:task;connection:link;server:host;client:caller;request:query;response:reply,answer;
header:heading;line:row;lines:rows;character:letter,sign;characters:letters;digits:figures;first:initial;last:final;
beginning:start;date:day;timeout:time limit;invalid:wrong,bad;valid:correct,good;ignored:skipped,left out;useful:handy;
construct:build;constructs:builds;initialize:set up;generate:produce,make;generates:produces;store:keep,save;
stored:kept,saved;sequence:series;mapping:table,dictionary;shutdown:end;encoding:coding;wrapper:shell""".replace(
            "\n", ""
        ).split(";")
    )
}


def _reworded(draw: Draw, words: list[str], chance: float) -> list[str]:
    made = []
    for word in words:
        lower = word.lower() if not word[1:].islower() or draw.chance(0.9) else word
        if word[:1].isupper() and word[1:].islower():
            lower = word.lower()
        elif any(c.isupper() for c in word):
            lower = word
        if lower in SIMILAR and draw.chance(chance):
            lower = draw.one(SIMILAR[lower])
        elif draw.chance(chance / 3):
            lower = _inflected(lower)
        made.append(lower)
    return made


def _inflected(word: str) -> str:
    if word.endswith("ing") and len(word) > 6:
        return word[:-3]
    if word.endswith("ed") and len(word) > 5:
        return word[:-2] if not word.endswith(("ated", "ired", "osed", "ized")) else word[:-1]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word + "s"


def real_question(draw: Draw, sentence: str) -> str | None:
    """A question whose answer is the sentence, made of some of its words."""
    words = real_sentences.content(sentence)
    if len(words) < 2:
        return None
    flat = sentence.rstrip(".")
    style = draw.weighted({"words": 6, "subject": 2, "order": 3})
    for verb in (" is ", " are ", " must ", " can ", " may ", " should ", " will ", " has "):
        subject = flat.split(verb)[0]
        if style == "subject" and verb in flat and 1 < len(subject.split()) < 9:
            subject = " ".join(_reworded(draw, subject.split(), 0.2))
            return _capital(draw.phrase(_SUBJECT).format(s=subject, v=verb.strip()))
    first = flat.split()[0]
    if style == "order" and first.lower().rstrip("s") in IMPERATIVES:
        rest = flat.split()[1:][: draw.between(3, 8)]
        verb = first.lower()[:-1] if first.endswith("s") else first.lower()
        text = " ".join(_reworded(draw, [verb, *rest], 0.3))
        return draw.phrase(_ORDER).format(s=text.rstrip(",;:"))
    count = min(len(words), draw.weighted({1: 0.5, 2: 3, 3: 4}))
    start = draw.between(0, len(words) - count)
    near = words[start : start + count + 2] if draw.chance(0.6) else words
    chosen = draw.random.sample(near, min(count, len(near)))
    if draw.chance(0.6):
        chosen.sort(key=words.index)
    a, b, c = (*_reworded(draw, chosen, 0.3), "", "")[:3]
    form = draw.phrase({1: _WORDS_1, 2: _WORDS_2, 3: _WORDS_3}[len(chosen)])
    return _capital(form.format(a=a, b=b, c=c))


IMPERATIVES = frozenset(
    """return get create make set read write open close find list show print remove delete add check
    test convert send receive wait call run parse load save start stop change update copy move
    compare build generate initialize construct compute print determine register execute handle
    encode decode format split join search match replace install provide allow define describe add
    apply use enable disable display draw execute extract fetch fill filter find force iterate
    list lock log map mark merge normalize order pass perform pop process produce push raise
    receive record refresh render reset resolve restore resume retrieve reverse sample select
    serialize skip sort store strip subtract swap test transform translate turn unpack validate
    verify view wrap accept append assign attach block calculate cancel check collect combine
    configure count declare detect evaluate export import flush group hash hold ignore include
    insert invoke keep limit look manage measure modify monitor notify parse plot prepare prevent
    protect provide query reduce release remove rename repeat report request require reject save
    scan schedule show shut sign simplify stop supply support switch sync terminate track truncate
    update yield""".split()
)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def real_passages(draw: Draw, most: int, passages: int = 8) -> Item:
    """Real sentences among others, some of which share words with the question."""
    paragraphs = _real(draw.side)
    while True:
        place = draw.random.randrange(len(paragraphs))
        true = draw.one(paragraphs[place])
        question = real_question(draw, true)
        if question:
            break
    words = {w.lower() for w in real_sentences.content(question)}
    answers = draw.chance(0.78)
    near = [s for p in paragraphs[max(0, place - 12) : place + 12] for s in p if s != true]
    far = [s for _ in range(most) for s in draw.one(paragraphs) if s != true]
    others: list[str] = []
    for _ in range(draw.between(0 if answers else 1, most)):
        other = draw.one(near if near and draw.chance(0.5) else far)
        held = {w.lower() for w in real_sentences.content(other)}
        if len(words & held) < max(1, len(words)) and other not in others:
            others.append(other)
    if not answers and not others:
        others = [draw.one(far)]
    sentences = ([true] if answers else []) + others
    groups = [[s] for s in sentences][:8] if passages == 0 else _grouped(draw, sentences, passages)
    return _finished(draw, groups, true if answers else None, question, "real")
