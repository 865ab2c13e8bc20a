"""`chart`: draws rows as a chart. Vega-Lite JSON for the web; PNG and SVG with the extra `charts`."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from nearfar.errors import MissingPackageError, ToolFailedError, ToolLimitError
from nearfar.settings import Settings

from .base import Arguments, GuardedTool, Result, guarded

Kind = Literal["bar", "line", "point", "area", "pie"]
Format = Literal["json", "png", "svg"]

MAX_ROWS = 5000
_MAX_COLUMNS = 50
_NUMBERS = (int, float)


class ChartArguments(Arguments):
    """What `chart` takes."""

    rows: list[dict[str, Any]] = Field(
        min_length=1, description='The data, as [{"month": "May", "sales": 3}, ...].'
    )
    x: str = Field(min_length=1, description="The column along the chart (pie: of the slices).")
    y: str = Field(min_length=1, description="The column with the numbers.")
    kind: Kind = Field(default="bar", description="bar, line, point, area or pie.")
    color: str = Field(default="", description="The column that tells series apart.")
    title: str = Field(default="", max_length=200, description="A title.")
    format: Format = Field(default="json", description="json (Vega-Lite), png or svg.")


def chart(settings: Settings) -> GuardedTool:
    """The tool; the chart is in the artifact, the model is told what it shows."""
    return guarded(
        settings,
        name="chart",
        description="Draws rows as a chart, which the reader sees. Gives back what it shows.",
        args=ChartArguments,
        body=draw,
        default="allow",
    )


def draw(
    *,
    rows: list[dict[str, Any]],
    x: str,
    y: str,
    kind: Kind,
    color: str,
    title: str,
    format: Format,  # noqa: A002 - the model's word
) -> Result:
    """The chart; ``data`` is {"format", "spec"} with for pictures "svg" or "png" (base64)."""
    spec = specification(rows, x, y, kind=kind, color=color, title=title)
    data: dict[str, Any] = {"format": format, "spec": spec}
    if format != "json":
        data[format] = _picture(spec, format)
    of = f" by {color}" if color else ""
    return Result(f"A {kind} chart of {y} over {x}{of} with {len(rows):,} rows.", data=data)


def specification(
    rows: Sequence[Mapping[str, Any]],
    x: str,
    y: str,
    *,
    kind: Kind = "bar",
    color: str = "",
    title: str = "",
) -> dict[str, Any]:
    """Vega-Lite as plain JSON, checked by Altair. Raises ToolFailedError, ToolLimitError.

    Columns are named by place inside (c0, c1, ...): a name with a dot or a bracket would be read as
    a path, and one with a colon as a type.
    """
    import altair

    _check(rows, [x, y, *([color] if color else [])])
    if not all(isinstance(row.get(y), _NUMBERS) or row.get(y) is None for row in rows):
        raise ToolFailedError(
            f"The column {y[:60]!r} does not hold numbers only.", remedy="Name one that does."
        )
    columns = list(dict.fromkeys([x, y, *([color] if color else [])]))
    names = {column: f"c{place}" for place, column in enumerate(columns)}
    values = [{names[column]: _plain(row.get(column)) for column in columns} for row in rows]
    # The rows are put in below: Altair would move them to a name of its own.
    base = altair.Chart(altair.InlineData(values=[]), title=title or altair.Undefined)
    numbers = all(isinstance(row.get(x), _NUMBERS) for row in rows)
    along: Any = "quantitative" if numbers and kind in ("point", "line", "area") else "nominal"
    amount = altair.Y(field=names[y], type="quantitative", title=y)
    if kind == "pie":
        made = base.mark_arc().encode(
            theta=altair.Theta(field=names[y], type="quantitative", title=y),
            color=altair.Color(field=names[x], type="nominal", title=x, sort=None),
        )
    else:
        made = getattr(base, f"mark_{kind}")().encode(
            x=altair.X(field=names[x], type=along, title=x, sort=None), y=amount
        )
        if color:
            series = altair.Color(field=names[color], type="nominal", title=color)
            made = made.encode(color=series)
    spec: dict[str, Any] = made.to_dict()
    spec.pop("datasets", None)
    return {**spec, "data": {"values": values}}


def _check(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    if len(rows) > MAX_ROWS:
        raise ToolLimitError(
            f"A chart takes at most {MAX_ROWS:,} rows, not {len(rows):,}.",
            data={"limit": MAX_ROWS, "found": len(rows)},
        )
    known = list(dict.fromkeys(name for row in rows for name in row))
    if len(known) > _MAX_COLUMNS:
        raise ToolLimitError(
            f"The rows have {len(known)} columns; {_MAX_COLUMNS} are the most.",
            data={"limit": _MAX_COLUMNS, "found": len(known)},
        )
    for column in columns:
        if column not in known:
            raise ToolFailedError(
                f"The rows have no column {column[:60]!r}.",
                remedy=f"They have: {', '.join(name[:60] for name in known)}.",
            )


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, float) and value not in (float("inf"), float("-inf")):
        return value if value == value else None  # noqa: PLR0124 - NaN
    return value if isinstance(value, int) else str(value)


def _picture(spec: dict[str, Any], kind: Literal["png", "svg"]) -> str:
    """Drawn on this machine; nothing is loaded from elsewhere."""
    try:
        import vl_convert
    except ImportError as error:
        raise MissingPackageError(
            "Pictures of charts need the package vl-convert-python.",
            remedy="pip install 'nearfar[charts]', or ask for json.",
            data={"package": "vl-convert-python"},
        ) from error
    if kind == "svg":
        return str(vl_convert.vegalite_to_svg(spec, allowed_base_urls=[]))
    return base64.b64encode(vl_convert.vegalite_to_png(spec, allowed_base_urls=[])).decode()
