"""What arguments of tools and fields of records are called, by what they hold."""

from .draw import Pool

# Labels of arguments and fields, by what they hold.
LABELS: dict[str, Pool[str]] = {
    "path": Pool(
        "path file filename file_path source target input_file output_file folder directory "
        "destination config log_file output location_on_disk archive_path".split(),
        kind="label",
    ),
    "url": Pool(
        "url link address page endpoint website source_url target_url site feed".split(),
        kind="label",
    ),
    "email": Pool(
        "email mail email_address recipient cc sender reply_to to_address".split(), kind="label"
    ),
    "person": Pool(
        "name person user customer recipient owner author assignee contact guest manager to_whom "
        "full_name patient teacher".split(),
        kind="label",
    ),
    "place": Pool(
        "city place location destination town origin venue region station airport".split(),
        kind="label",
    ),
    "int": Pool(
        "count limit n amount number size width height days minutes seconds quantity max_results "
        "top_k port page_number level year seats copies retries depth x y a b value age "
        "offset step rounds points input num index".split(),
        kind="label",
    ),
    "number": Pool(
        "price weight rate ratio temperature speed distance threshold scale factor score length "
        "percent budget volume radius latitude longitude interest tolerance".split(),
        kind="label",
    ),
    "text": Pool(
        "text message content title query subject body comment note description label caption "
        "keyword topic reason headline phrase search_term prompt input_text data".split(),
        kind="label",
    ),
    "code": Pool(
        "id code order_id ticket_id sku reference serial invoice_number key tracking_id "
        "flight_number room_code item_id case_number".split(),
        kind="label",
    ),
    "date": Pool(
        "date day deadline due_date start_date end_date when birthday since until".split(),
        kind="label",
    ),
    "clock": Pool(
        "time start end hour start_time end_time departure arrival at_time".split(), kind="label"
    ),
    "expression": Pool("expression formula calculation expr equation term".split(), kind="label"),
    "language": Pool(
        "language target_language lang to_language source_language".split(), kind="label"
    ),
    "bool": Pool(
        "recursive overwrite verbose urgent notify dry_run public force hidden archived silent "
        "draft active compress_output include_images append strict".split(),
        kind="label",
    ),
    "choice": Pool(
        "format unit priority color mode status order level_name quality theme currency style "
        "direction period severity kind".split(),
        kind="label",
    ),
}

CHOICES = Pool(
    [
        tuple(line.split())
        for line in """\
json csv xml
pdf docx html
celsius fahrenheit
low medium high
red green blue yellow
asc desc
open closed pending
small medium large
draft final
daily weekly monthly
north south east west
EUR USD GBP
light dark
fast balanced best
metric imperial
info warning error
public private
png jpg webp
km miles
left right center
up down
kg lb g
morning noon evening
bus train car
new used
bold italic plain
first second economy
mono stereo
hot cold mild
soft hard""".splitlines()
    ]
)
