"""Rule bodies of arrays and objects, once their parts have symbols."""

from dataclasses import dataclass

from .lark import LarkWriter, alternatives, sequence


@dataclass(frozen=True)
class Member:
    """A declared property: key, colon and value."""

    body: str
    required: bool


def repeated(item: str, low: int, high: int, comma: str) -> str:
    """``low`` to ``high`` items with commas between them."""
    more = f"({comma} {item}){{{max(low - 1, 0)},{high - 1}}}" if high > 1 else ""
    body = sequence(item, more)
    return body if low else f"({body})?"


def array_body(items: list[str], rest: str | None, low: int, high: int, comma: str) -> str:
    """First ``items``, then any number of ``rest``; ``low`` to ``high`` in all."""
    tail = ""
    if rest is not None and high > len(items):
        least, most = max(low - len(items), 0), high - len(items)
        if not items:
            return sequence('"["', repeated(rest, least, most, comma), '"]"')
        tail = f"({comma} {rest}){{{least},{most}}}"
    for index in range(len(items) - 1, -1, -1):
        body = sequence(comma if index else "", items[index], tail)
        tail = body if index < low else f"({body})?"
    return sequence('"["', tail, '"]"')


def object_body(
    members: list[Member],
    entry: str | None,
    most_entries: int,
    writer: LarkWriter,
    comma: str,
    *,
    may_be_empty: bool,
) -> str:
    """Members in their order, the optional ones present or not, then up to ``most_entries``.

    Commas depend on whether something stands before: so one alternative for each member that can
    be the first one present, each followed by a rule for all that may come after it.
    """
    more = f"({comma} {entry}){{0,{most_entries}}}" if entry and most_entries > 0 else ""
    share = bool(members) and not members[0].required  # several starts share their endings
    after = [more]
    for member in reversed(members[1:]):
        body = sequence(comma, member.body)
        whole = sequence(body if member.required else f"({body})?", after[-1])
        after.append(writer.rule(whole) if share else whole)
    after.reverse()
    starts: list[str] = []
    for member, rest in zip(members, after, strict=False):
        starts.append(sequence(member.body, rest))
        if member.required:
            break
    else:
        if entry and most_entries > 0:
            starts.append(repeated(entry, 1, most_entries, comma))
        if not starts:
            return '"{" "}"'
        if may_be_empty:
            return sequence('"{"', f"({alternatives(starts)})?", '"}"')
    return sequence('"{"', alternatives(starts), '"}"')
