"""Ordinary words, in pools that are divided between training and evaluation."""

from .draw import Pool

# A thing and other words for it.
NOUNS: Pool[tuple[str, ...]] = Pool(
    [
        tuple(line.split(", "))
        for line in """\
image, picture, photo
document, paper
invoice, bill
meeting, appointment
user, member
account, profile
report, summary
ticket, issue
message, note
recipe, dish
song, track
video, clip
playlist, mix
photo album, gallery
customer, client
order, purchase
shipment, delivery
package, parcel
reservation, booking
flight, plane trip
hotel, guest house
restaurant, place to eat
table, grid
chart, diagram
spreadsheet, sheet
presentation, slides
folder, directory
archive, bundle
backup, safety copy
server, machine
database, data store
branch, line of work
commit, change
release, version
test, check
job, task
queue, waiting line
schedule, plan
calendar, diary
reminder, alert
timer, countdown
alarm, wake-up call
light, lamp
thermostat, heating
door, entrance
camera, webcam
sensor, probe
battery, power pack
printer, printing device
phone, handset
contact, address entry
letter, post
newsletter, circular
survey, questionnaire
form, form sheet
contract, agreement
payment, transfer
budget, spending plan
salary, pay
tax, duty
loan, credit
stock, share
price, cost
discount, rebate
coupon, voucher
product, article
warehouse, depot
supplier, vendor
machine part, component
tool kit, tools
car, vehicle
train, railway
bus, coach
bicycle, bike
ship, boat
route, way
map, plan of the area
weather, forecast
temperature, heat
tide, water level
earthquake, tremor
star, sun
planet, world
molecule, compound
gene, hereditary unit
patient, sick person
doctor, physician
medicine, drug
vaccine, jab
diet, eating plan
workout, training
race, contest
team, squad
player, athlete
game, match
score, result
ticket office, box office
museum, exhibition
painting, artwork
poem, verse
novel, book
chapter, section
translation, rendering
dictionary, word list
lesson, class
student, pupil
teacher, instructor
exam, final test
grade, mark
garden, yard
plant, flower
tree, oak
animal, creature
pet, companion
farm, estate
harvest, crop
field, meadow
well, spring
bridge, crossing
tunnel, underpass
tower, high building
house, home
room, chamber
kitchen, cooking place
window, pane
roof, top cover
engine, motor
pump, water pump
valve, tap
cable, wire
antenna, aerial
signal, sign
channel, station
password, secret word
certificate, proof
license, permit
key, access key
token, pass
webhook, callback
page, site
link, reference
comment, remark
post, entry
tag, label
color, hue
font, typeface
logo, emblem
icon, symbol
template, pattern
script, program
function, routine
variable, placeholder
error, failure
log, record
metric, measure
dashboard, overview
cluster, group of machines
container, box
volume, disk
network, net
firewall, barrier
domain, web name
mailbox, inbox
event, happening
party, celebration
gift, present
voucher book, coupon book
donation, gift of money
auction, sale
bid, offer
property, real estate
tenant, renter
visitor, guest
employee, worker
vacancy, open position
candidate, applicant
shift, working time
holiday, vacation
trip, journey
passport, travel document
visa, entry permit
suitcase, luggage
currency, money
unit, measure unit
formula, equation
matrix, number grid
graph, plot
polygon, shape
point, spot
distance, length
weight, mass
speed, pace
sample, specimen
experiment, trial
microscope, lens
telescope, spyglass
satellite, orbiter
rocket, launcher
drone, flying robot
robot, automaton
elevator, lift
escalator, moving stairs
parking lot, car park
charger, charging point
solar panel, sun collector
wind turbine, windmill
meter, counter
pipe, tube
tank, reservoir
filter, sieve
oven, stove
fridge, cooler
blanket, cover
jacket, coat
shoe, boot
ring, band
necklace, chain
watch, wristwatch
clock, timepiece
instrument, musical device
concert, show
ballet, dance
movie, film
subtitle, caption
episode, part
podcast, radio show
headline, news line
magazine, journal
library, book house""".splitlines()
    ],
    kind="nouns",
)

# What one does to a thing, and other ways to say it; the first may stand in a tool's name.
VERBS: Pool[tuple[str, ...]] = Pool(
    [
        tuple(line.split(", "))
        for line in """\
create, make, set up
delete, remove, get rid of
find, look up, locate
list, show all, enumerate
send, dispatch, pass on
resize, scale, change the size of
convert, turn, transform
rename, give another name to
move, shift, put elsewhere
copy, duplicate, clone
open, start, bring up
close, shut, end
update, change, modify
book, reserve, secure
cancel, call off, drop
schedule, plan, arrange
measure, gauge, take the size of
count, tally, say how many of
compare, hold against each other, contrast
merge, combine, join
split, divide, break up
sort, order, arrange by rank
filter, narrow down, sift
download, fetch, pull
upload, push, put online
print, put on paper, output
scan, read in, examine
translate, render, put into another language
summarize, sum up, shorten
analyze, study, look into
validate, check, verify
approve, accept, sign off
reject, turn down, refuse
archive, store away, file
restore, bring back, recover
encrypt, protect, encode
compress, pack, make smaller
share, give access to, hand out
lock, block, secure against changes
unlock, free, release
enable, turn on, switch on
disable, turn off, switch off
restart, reboot, start again
pause, hold, interrupt
resume, continue, go on with
track, follow, watch
rate, score, give a mark to
review, go over, inspect
buy, purchase, get
sell, offer, trade
rent, lease, hire
repair, fix, mend
clean, wipe, tidy up
paint, colour, draw
crop, cut, trim
rotate, turn round, spin
describe, tell about, explain
estimate, guess, work out
calculate, compute, figure out
register, sign up, enrol
assign, give, allot
publish, make public, post
subscribe to, follow regularly, sign up for
notify, tell, inform
monitor, keep an eye on, observe
export, write out, save elsewhere
import, read in from outside, load
attach, add, fasten
search, look through, hunt for
get, fetch, show""".splitlines()
    ],
    kind="verbs",
)

ADJECTIVES = Pool(
    """red blue green silver golden old new small large heavy light quick slow quiet loud warm cold
    monthly weekly daily yearly final first last second annual local global public private secret
    urgent simple complex broken clean dirty empty full open closed upper lower northern southern
    eastern western early late spare main central hidden bright dark soft hard smooth rough sharp
    round square narrow wide deep shallow fresh dry wet sweet bitter spicy plain modern ancient
    rural urban famous rare common digital wooden metal plastic paper woolen leather stone iron
    temporary permanent internal external mobile fixed shared single double weekly winter summer
    autumn spring morning evening marine alpine coastal royal national regional quarterly""".split(),
    kind="adjective",
)

FIRST_NAMES = Pool(
    """Anna Ben Clara David Emma Felix Greta Hugo Ida Jonas Karin Leo Maria Nils Olga Paul Rosa Simon
    Tilda Urs Vera Walter Yara Zoe Ahmed Bianca Carlos Dilara Elif Farid Gita Hassan Imani Jamal
    Keiko Lars Mei Noor Omar Priya Quentin Ravi Sofia Tomas Ulla Viktor Wanda Ximena Yusuf Zara
    Alice Bob Charles Diana Edward Fiona George Helen Ivan Julia Kevin Laura Martin Nora Oscar Petra
    Robert Sarah Theo Ursula Vincent Wendy Adam Beth Colin Dora Eric Frida Gustav Hanna""".split(),
    kind="name",
)

REAL_PLACES = Pool(
    [
        name.replace("_", " ")
        for name in """Paris London Berlin Madrid Rome Vienna Oslo Warsaw Prague Lisbon Dublin Athens
    Tokyo Osaka Seoul Delhi Mumbai Lagos Nairobi Cairo Sydney Toronto Boston Chicago Denver Miami
    Seattle Austin Houston Lima Bogota Santiago Havana Zurich Geneva Basel Milan Naples Turin Hamburg
    Munich Cologne Bremen Leipzig Dresden Krakow Budapest Bucharest Sofia Belgrade Zagreb Helsinki
    Stockholm Gothenburg Copenhagen Reykjavik Tallinn Riga Vilnius Kyiv Istanbul Ankara Dubai Doha
    New_York Los_Angeles San_Diego Las_Vegas Hong_Kong Cape_Town Buenos_Aires Rio_de_Janeiro
    Brazil Canada Norway Japan Kenya Spain Italy Peru Chile Greece Portugal Vietnam""".split()
    ],
    kind="name",
)

SUBJECTS = Pool(
    [
        name.replace("_", " ")
        for name in """the_team the_board our_office the_manager the_driver the_editor the_nurse
    the_council the_school the_captain the_student the_neighbour the_engineer the_bank the_landlord
    the_baker the_gardener the_committee the_union the_hotel the_mayor the_coach the_supplier
    everyone nobody the_new_colleague the_whole_family the_guests the_workers the_visitors""".split()
    ],
    kind="subject",
)
