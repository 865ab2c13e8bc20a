"""Tools that many programs have, with requests as people make them."""

from typing import Any

from . import values
from .draw import Draw, Pool
from .facts import attributes_of, fact, thing
from .toolkit import Argument, Tool

# name or names; description; arguments as label:kind; requests
_TABLE = """\
get_weather|weather|current_weather; Get the weather at a place.|Current weather for a city.|Tells the weather.; location:place; What is the weather in {location}?|How warm is it in {location}?|Is it raining in {location} now?|weather {location}|Do I need an umbrella in {location}?|Tell me about the weather in {location}.|Will it be sunny in {location}?|What's it like outside in {location}?
calculator|calculate|evaluate|math; Evaluate an arithmetic expression.|Works out a formula.|A calculator for sums and products.; expression:expression; What is {expression}?|Calculate {expression}.|How much is {expression}?|{expression}|Work out {expression} for me.|compute {expression}|What's {expression} equal to?|I need the result of {expression}.|Solve {expression}
add|add_numbers|plus; Add two numbers.|The sum of a and b.; a:int b:int; What is {a} plus {b}?|Add {a} and {b}.|Add {b} to {a}|sum of {a} and {b}?|How much is {a} and {b} together?
multiply|times|product; Multiply two numbers.|The product of a and b.; a:int b:int; What is {a} times {b}?|Multiply {a} by {b}.|the product of {a} and {b}|What do {a} and {b} make multiplied?
read_file|open_file|load_file; Read a text file.|Returns what a file holds.|Read the contents of a file.; path:path; Read {path}.|What is in {path}?|Show me the contents of {path}.|Open {path}|Please read the file {path}|What does {path} say?|cat {path}|Have a look into {path}.|print {path}
write_file|save_file|save_text; Write text to a file.|Saves text under a path.; path:path content:text; Write "{content}" to {path}.|Save "{content}" in {path}|Put the text '{content}' into {path}.|Create {path} with the content "{content}".|store '{content}' as {path}
list_files|list_directory|ls; List the files of a folder.|What is in a directory.; path:path; What files are in {path}?|List {path}.|Show the files of {path}|ls {path}|Which files does the folder {path} have?|What is inside {path}?
fetch_page|fetch_url|http_get|get_page; Fetch a web page.|Download a page as text.|GET a URL.; url:url; Fetch {url}.|What is on {url}?|Get {url}|Read the page {url} for me.|Download {url}|What does {url} say?|Open the site {url}|summarise {url}|GET {url}
web_search|search|search_web|lookup; Search the web.|Finds pages for a query.|Search for something.; query:text; Search for {query}.|Search the web for "{query}".|Look up {query}|What can you find about {query}?|google {query}|Find information on {query}.|Who knows about {query}?
send_email|send_mail|email; Send an e-mail.|Mails a message to someone.; to:email body:text; Send "{body}" to {to}.|Email {to}: {body}|Write to {to} that {body}|Mail {to} the message '{body}'|Send an email to {to} saying "{body}".
send_message|message_user|chat_message; Send a message to a person.|Writes to someone.; recipient:person text:text; Tell {recipient} "{text}".|Send {recipient} the message "{text}".|Message {recipient}: {text}|Let {recipient} know: {text}|Write '{text}' to {recipient}
translate|translate_text; Translate a text into a language.|Puts text in another language.; text:text language:language; Translate "{text}" into {language}.|How do you say "{text}" in {language}?|What is '{text}' in {language}?|Put "{text}" in {language}|{language} for "{text}"?
set_timer|timer|start_timer; Set a timer.|Starts a countdown in minutes.; minutes:int; Set a timer for {minutes} minutes.|Wake me in {minutes} minutes.|timer {minutes} min|Count down {minutes} minutes|Tell me when {minutes} minutes are over.
set_alarm|alarm; Set an alarm at a time.|Wakes the user.; time:clock; Wake me up at {time}.|Set an alarm for {time}.|alarm at {time}|I have to get up at {time}
get_time|current_time|clock|time_in; Tell the time at a place.|Current time in a city.; city:place; What time is it in {city}?|time in {city}|Tell me the time in {city}.|How late is it in {city} now?
create_event|add_event|new_event; Add an event to the calendar.|Puts a date into the calendar.; title:text date:date; Put "{title}" on my calendar for {date}.|Add the event "{title}" on {date}.|Schedule "{title}" for {date}|I have "{title}" on {date}, note it.
convert_currency|exchange|currency; Convert money between currencies.|Exchange rates.; amount:int source:cur target:cur; Convert {amount} {source} to {target}.|How much is {amount} {source} in {target}?|{amount} {source} in {target}|What do I get in {target} for {amount} {source}?
get_stock_price|stock|stock_quote; Price of a share by its symbol.|Stock quotes.; symbol:sym; What is the price of {symbol}?|How is {symbol} doing?|stock price of {symbol}|Quote for {symbol}, please|How much is one share of {symbol}?
sql_query|run_sql|query_db; Run an SQL query.|Ask the database.; query:sql; Run {query}|Execute "{query}".|Query the database: {query}|What does {query} give?
create_customer|add_customer|new_customer; Create a customer.|Adds a customer to the list.; customer_name:both description:both2; Add the customer '{customer_name}' ({description}).|New customer '{customer_name}', description '{description}'.|Register '{customer_name}', {description}, as a customer|Create '{customer_name}' - {description}
add_task|todo|new_task; Add a task to the list.|Notes something to do.; task:text; Remind me: {task}|Add "{task}" to my list.|Put '{task}' on my to-do list|I must not forget: {task}|note down {task}
book_table|reserve_table; Book a table in a restaurant.; restaurant:person people:int time:clock; Book a table at {restaurant} for {people} at {time}.|A table for {people} at {restaurant}, {time}, please|We are {people} and come to {restaurant} at {time}
find_person|get_contact|lookup_person; Find a person's address.|Looks up people.; name:person; Who is {name}?|Find {name}.|What is the address of {name}?|How can I reach {name}?|Look up {name} please
get_order|order_status|track_order; Status of an order.|Where an order is.; order_id:code; Where is my order {order_id}?|What is the state of order {order_id}?|Track {order_id}|Has {order_id} been sent?|status of {order_id}
play_music|play_song|play; Play a song.|Starts music.; song:text; Play {song}.|I want to hear "{song}".|Put on '{song}'|play "{song}" please
turn_on|switch_on|light_on; Switch a device on.; device:text; Turn on the {device}.|Switch the {device} on|{device} on, please
define|define_word|dictionary; Explain a word.|Meaning of a word.; word:text; What does {word} mean?|Define {word}.|meaning of {word}?|Explain the word {word}
distance|get_distance|how_far; Distance between two places.; origin:place destination:place; How far is it from {origin} to {destination}?|distance {origin} {destination}|How many km between {origin} and {destination}?|How far is {destination} from {origin}?
population|get_population; Number of people who live in a place.; place:place; How many people live in {place}?|population of {place}|How big is {place}?
ask_docs|search_docs|search_documents; Answer a question from the documents.|Search the documents.; question:text; Look in the documents: {question}|What do the documents say about {question}?|Search our files for {question}|Find "{question}" in the docs
roll_dice|dice; Roll dice.; sides:int; Roll a die with {sides} sides.|roll d{sides}|Throw a {sides}-sided die
square_root|sqrt; Square root of a number.; x:int; What is the square root of {x}?|sqrt of {x}|root of {x}?
tide_table|get_tide; Tide times of a harbour.; harbour:place day:date; When is high water in {harbour} on {day}?|Tides at {harbour}, {day}|tide {harbour} {day}
resize|scale_image; Change the size of a picture.; path:path width:int height:int; Resize {path} to {width} by {height}.|Scale {path} to {width}x{height}|Make {path} {width} wide and {height} high
hash_file|checksum; Checksum of a file.; path:path; Checksum of {path}?|Hash {path}|What is the hash of {path}?
ping|ping_host; Test whether a host answers.; host:url; Is {host} up?|ping {host}|Does {host} answer?
weekday|day_of_week; The weekday of a date.; date:date; What day of the week is {date}?|weekday of {date}|Which day is {date}?
"""

_SYMBOLS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _symbol(draw: Draw) -> str:
    return "".join(draw.one(_SYMBOLS) for _ in range(draw.between(2, 4)))


def _sql(draw: Draw) -> str:
    table = values.stem(draw).replace("-", "_")
    what = draw.one(["*", "count(*)", "name", "sum(price)", "id, name", "max(age)"])
    where = (
        f" WHERE {values.invented(draw, 1, 2)} {draw.one(['=', '>', '<'])} {draw.between(1, 999)}"
    )
    return f"SELECT {what} FROM {table}{where if draw.chance(0.6) else ''}"


def _name(draw: Draw) -> str:
    return values.foreign(draw) if draw.chance(0.6) else values.person(draw)


def _asked(draw: Draw) -> str:
    about = thing(draw)
    return fact(draw, about, draw.one(attributes_of(about.kind))).question(draw)


_SPECIAL = {
    "cur": lambda draw: draw.one("EUR USD GBP JPY CHF SEK NOK PLN CZK INR CAD AUD".split()),
    "sym": _symbol,
    "sql": _sql,
    "asked": _asked,
    "both": _name,
    "both2": values.title,
}


# Nearfar's own, as its agents show them: they are trained on, and never measured with.
_OWN = """\
documents|documents|search_docs; Searches an index of documents and returns numbered passages with their sources, to cite as [1].|Searches an index of documents.|Looks into the user's documents.; question:asked; {question}|{question}|Look it up: {question}|What do my documents say: {question}|Find out from the files: {question}
calculator; Calculates one arithmetic expression exactly and returns the number.|Calculates one arithmetic expression.; expression:expression; What is {expression}?|{expression}|How much is {expression}?|Please calculate {expression}|Work out {expression}
files_read|read_file; Reads a text file.|Reads a file.; path:path; Read {path}.|What is in {path}?|Show {path}|Open the file {path}
files_list; Lists the files of a folder.; path:path; List {path}.|Which files are in {path}?|What is in the folder {path}?
files_search; Searches files for a text.; text:text; Which files have "{text}"?|Search the files for {text}.|Find '{text}' in the files
web_fetch; Fetch a web page, text, JSON or PDF file and return it as markdown.|Fetch a web page.; url:url; Fetch {url}.|What does {url} say?|Get {url}|Read {url}
chart; Draws rows as a chart, which the reader sees.; title:text; Draw a chart called "{title}".|Chart "{title}"
"""


class Ordinary:
    """One row of the table."""

    def __init__(self, line: str) -> None:
        names, descriptions, arguments, requests = line.split("; ", 3)
        self.line = line
        self.names, self.descriptions = names.split("|"), descriptions.split("|")
        self.arguments = [tuple(a.split(":")) for a in arguments.split()]
        self.requests = Pool(requests.split("|"))

    def __repr__(self) -> str:
        return self.names[0]

    def __hash__(self) -> int:
        return hash(self.line)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ordinary) and self.line == other.line

    def tool(self, draw: Draw) -> Tool:
        made = [
            Argument(label, "text" if kind in _SPECIAL else kind) for label, kind in self.arguments
        ]
        return Tool(draw.one(self.names), draw.one(self.descriptions), tuple(made))

    def values(self, draw: Draw) -> dict[str, Any]:
        return {
            label: _SPECIAL[kind](draw) if kind in _SPECIAL else Argument(label, kind).make(draw)
            for label, kind in self.arguments
        }

    def request(self, draw: Draw, given: dict[str, Any]) -> str:
        form = draw.phrase(self.requests)
        for label, value in given.items():
            form = form.replace("{" + label + "}", str(value))
        return form


ORDINARY = Pool([Ordinary(line) for line in _TABLE.splitlines()])
OWN = tuple(Ordinary(line) for line in _OWN.splitlines())
