"""Invented facts: things with invented names, what is said of them, and how one asks for it."""

from collections.abc import Callable
from dataclasses import dataclass

from . import values
from .draw import Draw, Pool
from .vocabulary import ADJECTIVES, NOUNS, VERBS

# kind of thing: what its name looks like
_THINGS = {
    "machine": "bridge|pump|ferry|printer|camera|drone|tower|engine|telescope|boat|oven|tractor",
    "place": "library|museum|harbour|school|hotel|garden|station|farm|hospital|cave|castle|lake",
    "group": "company|club|choir|team|society|bank|bakery|brewery|institute|newspaper|orchestra",
    "person": "",
    "work": "novel|song|film|painting|opera|poem|game|statue|podcast|magazine|board game",
    "event": "festival|race|conference|fair|regatta|concert|congress|exhibition|tournament|market",
    "software": "library|format|service|tool|command|protocol|plugin|module|parser|scheduler",
}
# attribute; kinds; value; statements; questions ({n} name, {v} value)
_TABLE = """\
weight;machine work;kg;{n} weighs {v}.|The weight of {n} is {v}.|At {v}, {n} is heavier than most.|{n} has a mass of {v}.|Empty, {n} comes to {v} on the scales.;How heavy is {n}?|What does {n} weigh?|What is the weight of {n}?|How many kilograms has {n}?|What is the mass of {n}?
length;machine place;metres;{n} is {v} long.|The length of {n} is {v}.|{n} measures {v} from end to end.|From one end to the other {n} has {v}.;How long is {n}?|What is the length of {n}?|How many metres does {n} measure?|What distance is it from one end of {n} to the other?
speed;machine;kmh;{n} reaches {v}.|The top speed of {n} is {v}.|{n} goes no faster than {v}.|On a good day {n} moves at {v}.;How fast is {n}?|What is the top speed of {n}?|How quickly does {n} move?|What speed can {n} reach?
founded;group place event;year;{n} was founded in {v}.|{n} dates from {v}.|In {v} the story of {n} began.|{n} has existed since {v}.|The foundation of {n} fell in {v}.;When was {n} founded?|In which year did {n} begin?|How old is {n}?|Since when has {n} existed?|When did {n} start?
head;group place event;person;{n} is led by {v}.|{v} runs {n}.|The head of {n} is {v}.|{v} has been in charge of {n} for years.|At the top of {n} stands {v}.|The director of {n} is called {v}.;Who leads {n}?|Who is in charge of {n}?|Who is the head of {n}?|Who runs {n}?|Who is the director of {n}?
price;machine work event software;money;{n} costs {v}.|The price of {n} is {v}.|One pays {v} for {n}.|{n} is sold for {v}.|For {n} the shops ask {v}.;How much is {n}?|What does {n} cost?|What is the price of {n}?|How much must one pay for {n}?|What do I pay for {n}?
colour;machine work;colour;{n} is painted {v}.|The colour of {n} is {v}.|{n} comes only in {v}.|From afar {n} looks {v}.;What colour is {n}?|Which colour does {n} have?|In what colour is {n}?|How is {n} painted?
city;group place event person;place;{n} is in {v}.|{n} can be found in {v}.|The home of {n} is {v}.|{v} is where {n} is at home.|One finds {n} in {v}.|{n} is based in {v}.;Where is {n}?|In which city is {n}?|Where can one find {n}?|What is the home of {n}?|In which town is {n} located?
opening;place event;clock;{n} opens at {v}.|The doors of {n} open at {v}.|From {v} on visitors may enter {n}.|{n} lets nobody in before {v}.;When does {n} open?|At what time does {n} open?|From when can I visit {n}?|How early may one enter {n}?
closing;place event;clock;{n} closes at {v}.|At {v} everyone must leave {n}.|{n} shuts its doors at {v}.|The day at {n} ends at {v}.;When does {n} close?|At what time does {n} shut?|Until when is {n} open?|How late can one stay at {n}?
visitors;place event;count;{n} had {v} visitors last year.|{v} people came to {n}.|In one year {n} counted {v} guests.|Every year {v} guests see {n}.;How many visitors did {n} have?|How many people came to {n}?|How many guests does {n} count?|What number of people visit {n}?
staff;group place;count;{n} employs {v} people.|{v} people work for {n}.|The staff of {n} has grown to {v}.|{n} has {v} workers.;How many people work for {n}?|How large is the staff of {n}?|How many employees does {n} have?|What is the number of workers of {n}?
author;work software;person;{n} was made by {v}.|{v} is the author of {n}.|The one who created {n} is {v}.|{n} is a work of {v}.|{v} wrote {n} in a single winter.;Who made {n}?|Who is the author of {n}?|Who created {n}?|Who wrote {n}?|Whose work is {n}?
born;person;year;{n} was born in {v}.|The year of birth of {n} is {v}.|{n} came into the world in {v}.;When was {n} born?|In which year was {n} born?|What is the year of birth of {n}?|How old is {n}?
job;person;job;{n} works as a {v}.|The profession of {n} is {v}.|{n} is a {v} by trade.|{n} earns a living as a {v}.;What is the job of {n}?|What does {n} do for a living?|What is the profession of {n}?|As what does {n} work?
hobby;person;thing;{n} collects {v}.|In the free time {n} looks after {v}.|{n} has a liking for {v}.|The great love of {n} is {v}.;What does {n} collect?|What does {n} like?|What is the hobby of {n}?|What does {n} love most?
height;place person machine;metres;{n} is {v} high.|{n} stands {v} tall.|The height of {n} is {v}.|{n} rises to {v}.;How high is {n}?|How tall is {n}?|What is the height of {n}?
depth;place;metres;{n} is {v} deep.|The depth of {n} is {v}.|Its deepest point puts {n} at {v}.|{n} goes down to {v}.;How deep is {n}?|What is the depth of {n}?|How far down does {n} go?
port;software;number;{n} listens on port {v}.|The port of {n} is {v}.|{n} answers on port {v}.|By default {n} takes port {v}.;On which port does {n} listen?|What is the port of {n}?|Which port does {n} use?
limit;software place event;count;{n} takes at most {v} {p}.|No more than {v} {p} fit into {n}.|The limit of {n} is {v} {p}.|{n} refuses more than {v} {p}.;What is the limit of {n}?|How many {p} does {n} take?|How many {p} fit into {n}?|What is the most {p} that {n} allows?|At how many {p} does {n} stop?
format;software;path;{n} writes its log to {v}.|The log of {n} is kept in {v}.|{n} puts what it logs into {v}.|What {n} reports ends up in {v}.;Where does {n} write its log?|In which file is the log of {n}?|Where can the log of {n} be found?
version;software;version;The newest version of {n} is {v}.|{n} is now at {v}.|{n} has reached version {v}.|Today everyone uses {v} of {n}.;What is the newest version of {n}?|Which version has {n} reached?|At which version is {n} now?
licence;software work;licence;{n} is under the {v} licence.|The licence of {n} is {v}.|{n} may be used under {v}.|{n} was released as {v}.;Under which licence is {n}?|What is the licence of {n}?|How is {n} licensed?|Which terms apply to {n}?
owner;machine place work;person;{n} belongs to {v}.|The owner of {n} is {v}.|{v} owns {n}.|{n} is in the hands of {v}.|{v} bought {n} long ago.;Who owns {n}?|To whom does {n} belong?|Who is the owner of {n}?|In whose hands is {n}?|Who bought {n}?
material;machine place work;material;{n} is made of {v}.|{n} consists of {v}.|They built {n} out of {v}.|The material of {n} is {v}.;What is {n} made of?|Of what does {n} consist?|Which material is {n} built from?|What is the material of {n}?
next;event;date;{n} takes place on {v}.|The date of {n} is {v}.|{n} will be held on {v}.|On {v} it is time for {n}.;When does {n} take place?|What is the date of {n}?|On which day is {n} held?|When will {n} be?
prize;event;money;The winner of {n} gets {v}.|At {n} one can win {v}.|The prize at {n} is {v}.|Whoever comes first at {n} takes home {v}.;What can one win at {n}?|What is the prize at {n}?|What does the winner of {n} get?
phone;group place person;phone;The phone number of {n} is {v}.|{n} can be called on {v}.|To ring {n}, dial {v}.|{n} answers the phone under {v}.;What is the phone number of {n}?|How can I call {n}?|Under which number can {n} be reached?
mail;group person;email;{n} can be written to at {v}.|The mail address of {n} is {v}.|Letters to {n} go to {v}.|{n} reads what is sent to {v}.;What is the mail address of {n}?|How do I write to {n}?|Where do I send mail to {n}?
rule;place event software;rule;{n} forbids {v}.|At {n} nobody may bring {v}.|{v} are not allowed at {n}.|{n} has a ban on {v}.;What does {n} forbid?|What is not allowed at {n}?|What may I not bring to {n}?|Which things are banned at {n}?
cause;machine software;cause;{n} stops when {v}.|If {v}, {n} gives up.|{n} fails as soon as {v}.|Whenever {v}, {n} comes to a halt.;When does {n} stop?|Why does {n} stop?|What makes {n} fail?|What brings {n} to a halt?
use;machine software;use;{n} is used to {v}.|One uses {n} to {v}.|The purpose of {n} is to {v}.|{n} was built to {v}.|With {n} it is easy to {v}.;What is {n} used for?|What is the purpose of {n}?|Why was {n} built?|What can one do with {n}?
battery;machine;hours;The battery of {n} lasts {v}.|{n} runs for {v} on one charge.|After {v} {n} must be charged.|One charge keeps {n} going for {v}.;How long does the battery of {n} last?|How long does {n} run on one charge?|After what time must {n} be charged?
repair;machine place;months;{n} is serviced every {v}.|Every {v} somebody checks {n}.|{n} needs care once in {v}.|Maintenance of {n} comes round every {v}.;How often is {n} serviced?|How often is {n} checked?|How often does {n} need maintenance?
"""
_COUNTED = (
    "guests files boats rows requests tickets books cars users boxes letters pages seats horses"
)


@dataclass(frozen=True)
class Attribute:
    name: str
    kinds: tuple[str, ...]
    value: str
    statements: Pool[str]
    questions: Pool[str]


def _attribute(line: str) -> Attribute:
    name, kinds, value, statements, questions = line.split(";")
    return Attribute(
        name,
        tuple(kinds.split()),
        value,
        Pool(statements.split("|"), loose=True),
        Pool(questions.split("|")),
    )


ATTRIBUTES = [_attribute(line) for line in _TABLE.splitlines()]


def _things(draw: Draw) -> str:
    return f"{draw.value(ADJECTIVES)} {draw.value(NOUNS)[0]}s"


def _cause(draw: Draw) -> str:
    thing = draw.value(NOUNS)[0]
    state = draw.one(["is missing", "is full", "is empty", "gets too hot", "has been moved", "is locked",
                      "is older than a day", "cannot be read", "is too heavy", "was renamed"])  # fmt: skip
    return f"the {thing} {state}"


def _use(draw: Draw) -> str:
    return f"{draw.value(VERBS)[0]} {_things(draw)}"


def _number(draw: Draw, unit: str, most: int = 5000) -> str:
    number = draw.between(2, draw.one([20, 100, most]))
    point = f".{draw.between(1, 9)}" if draw.chance(0.15) else ""
    return f"{number}{point} {unit}"


_VALUES: dict[str, Callable[[Draw], str]] = {
    "kg": lambda d: _number(d, d.one(["kg", "kilograms", "tonnes"])),
    "metres": lambda d: _number(d, d.one(["metres", "m"])),
    "kmh": lambda d: _number(d, d.one(["km/h", "kilometres per hour", "knots"]), 400),
    "year": lambda d: str(d.between(1700, 2030)),
    "person": values.person,
    "money": lambda d: _number(d, d.one(["euros", "dollars", "pounds", "francs"])),
    "colour": lambda d: d.one("red blue green yellow black white grey brown orange purple".split()),
    "place": values.place,
    "clock": values.clock,
    "count": lambda d: str(d.between(2, d.one([30, 300, 9000]))),
    "job": lambda d: d.one("baker teacher pilot nurse welder painter lawyer farmer clerk diver".split()),
    "thing": _things,
    "rule": _things,
    "number": lambda d: str(d.between(80, 65000)),
    "path": values.path,
    "version": lambda d: f"{d.between(0, 20)}.{d.between(0, 30)}" + (f".{d.between(0, 9)}" if d.chance(0.5) else ""),
    "licence": lambda d: d.one(["MIT", "Apache-2.0", "GPL", "BSD", "MPL", "public domain", "CC0"]),
    "material": lambda d: d.one("oak steel glass stone copper clay brick paper wool granite".split()),
    "date": values.date,
    "phone": lambda d: f"{d.between(10, 999)} {d.between(1000, 999999)}",
    "email": values.email,
    "cause": _cause,
    "use": _use,
    "hours": lambda d: _number(d, d.one(["hours", "minutes", "days"]), 90),
    "months": lambda d: _number(d, d.one(["months", "weeks", "days"]), 60),
}  # fmt: skip


@dataclass(frozen=True)
class Thing:
    kind: str
    name: str  # as it stands inside a sentence


def thing(draw: Draw) -> Thing:
    """Something with an invented name."""
    kind = draw.one(list(_THINGS))
    name = values.invented(draw).capitalize()
    if kind == "person":
        return Thing(kind, values.person(draw))
    what = draw.one(_THINGS[kind].split("|"))
    if (words := draw.words) and draw.chance(0.5):
        what = words.some(draw, "noun")
    shape = draw.weighted({"{N}": 3, "the {w} {N}": 2, "the {N} {w}": 3, "the {w} of {N}": 1.5})
    return Thing(kind, shape.format(N=name, w=what))


def capital(text: str) -> str:
    return text[0].upper() + text[1:]


@dataclass(frozen=True)
class Fact:
    thing: Thing
    attribute: Attribute
    value: str
    counted: str

    def statement(self, draw: Draw, name: str | None = None) -> str:
        form = draw.phrase(self.attribute.statements)
        return capital(form.format(n=name or self.thing.name, v=self.value, p=self.counted))

    def question(self, draw: Draw) -> str:
        form = draw.phrase(self.attribute.questions)
        text = form.format(n=self.thing.name, p=self.counted)
        style = draw.weighted({"": 8, "lower": 1, "tell": 0.7, "bare": 0.4})
        if style == "lower":
            return text[0].lower() + text[1:].rstrip("?")
        if style == "tell":
            return (
                draw.one(["Please tell me: ", "I would like to know: ", "Quick question: ", "Hi! "])
                + text
            )
        return text


# For training alone: what is said of a thing by any noun or verb at all. {a} and {b} are the same
# noun, the second perhaps by another word.
_OPEN_NOUN = [
    ("The {a} of {n} is {v}.", "{n} has {v} as its {a}.", "{n} has a {a} of {v}.", "{v} is the {a} of {n}.",
     "As for its {a}, {n} has {v}.", "{n}: {a} {v}.", "With {v} for a {a}, {n} stands alone.", "Ask {n} for the {a} and you get {v}.",
     "They gave {n} {v} as {a}.", "Under {a}, {n} shows {v}.", "{n} got {v} for its {a}.", "The {a} that {n} uses is {v}.",
     "Its {a} made {n} known: {v}.", "By {a}, {n} comes to {v}.", "In terms of {a}, {n} reaches {v}.", "{n} was given the {a} {v}.",
     "{n} keeps {v} as {a}.", "{v} was noted as the {a} of {n}.", "When it comes to {a}, {n} has {v}.", "Of {n} the {a} is {v}."),
    ("What is the {b} of {n}?", "Which {b} does {n} have?", "What {b} has {n}?", "Tell me the {b} of {n}.", "What do we know about the {b} of {n}?",
     "{n}: which {b}?", "How is it with the {b} of {n}?", "What was given as the {b} of {n}?", "Which {b} belongs to {n}?",
     "Do you know {n}'s {b}?", "What {b} did {n} get?", "What is said of {n} as to its {b}?", "I need the {b} for {n}.", "Under which {b} is {n}?"),
]  # fmt: skip
_OPEN_VERB = [
    ("{n} will {a} {v}.", "{v} is what {n} must {a}.", "Every day {n} can {a} {v}.", "{n} was made to {a} {v}.", "They let {n} {a} {v}.",
     "Nobody but {n} can {a} {v}.", "It is {n} that should {a} {v}.", "{n} did not only {a} {v}.", "To {a} {v}, {n} took a year.",
     "Without {n} nobody could {a} {v}.", "{n} may {a} {v} at any time.", "Once {n} had to {a} {v}."),
    ("What does {n} {b}?", "What will {n} {b}?", "What can {n} {b}?", "What is it that {n} should {b}?", "What did {n} {b}?",
     "Which thing does {n} {b}?", "Does {n} {b} anything?", "What must {n} {b}?", "Tell me what {n} may {b}.", "{n} can {b} what?"),
]  # fmt: skip
_OPEN_VALUES = (
    "kg metres year person money place clock count thing number path version date phone email hours use"
).split()


def open_attributes(draw: Draw, count: int) -> list[Attribute]:
    """Attributes of any name, with what may be said and asked of them."""
    words = draw.words
    if words is None:
        return []
    made: dict[str, Attribute] = {}
    while len(made) < count:
        verbal = draw.chance(0.3)
        said, *similar = words.with_similar(draw, "verb" if verbal else "noun")
        asked = draw.one(similar) if similar and draw.chance(0.5) else said
        statements, questions = _OPEN_VERB if verbal else _OPEN_NOUN
        value = "thing" if verbal else draw.one(_OPEN_VALUES)
        made[said] = Attribute(
            said,
            (),
            value,
            Pool([form.replace("{a}", said) for form in statements]),
            Pool([form.replace("{b}", asked) for form in questions]),
        )
    return list(made.values())


def attributes_of(kind: str) -> list[Attribute]:
    return [attribute for attribute in ATTRIBUTES if kind in attribute.kinds]


def fact(draw: Draw, about: Thing, attribute: Attribute) -> Fact:
    return Fact(about, attribute, _VALUES[attribute.value](draw), draw.one(_COUNTED.split()))
