"""A graph as Mermaid text, and as a picture that needs no service elsewhere.

The picture has one row per layer: a step stands below all steps that lead to it, and edges that
lead back bend around.
"""

from collections.abc import Iterable
from html import escape
from typing import Any

from nearfar.errors import MissingPackageError

_WIDTH, _HEIGHT = 150, 40  # of a box, in pixels
_ACROSS, _DOWN = 40, 56  # between boxes
_LETTER = 7.6
_MARGIN = 30
_SCALE = 2.0

_TIP = (
    '<marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" '
    'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#555"/></marker>'
)

Point = tuple[float, float]


def mermaid(drawn: Any) -> str:
    """The text that Mermaid draws (GitHub and many editors do)."""
    text: str = drawn.draw_mermaid()
    return text


def layered_svg(drawn: Any) -> str:
    """The picture of a graph that ``get_graph`` gave."""
    edges = [(edge.source, edge.target, bool(edge.conditional)) for edge in drawn.edges]
    rows = _rows(list(drawn.nodes), [(source, target) for source, target, _ in edges])
    names = {key: str(node.name) for key, node in drawn.nodes.items()}
    longest = max((len(name) for name in names.values()), default=0)
    width = max(_WIDTH, longest * _LETTER + 24)
    total = max((len(row) for row in rows), default=1) * (width + _ACROSS) + 2 * _MARGIN
    places = _places(rows, width, total)
    height = len(rows) * (_HEIGHT + _DOWN) + 2 * _MARGIN
    size = f'width="{total:.0f}" height="{height:.0f}"'
    size = f'width="{total:.0f}" height="{height:.0f}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">',
        f"<defs>{_TIP}</defs>",
        '<rect width="100%" height="100%" fill="white"/>',
        *(_edge(places[a], places[b], width, total, dashed=dashed) for a, b, dashed in edges),
        *(_box(places[key], names[key], width) for key in drawn.nodes),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def svg_to_png(svg: str) -> bytes:
    """The picture as PNG. Raises MissingPackageError without the extra ``charts``."""
    try:
        import vl_convert
    except ModuleNotFoundError:
        raise MissingPackageError(
            "A PNG needs the package vl-convert-python.",
            remedy="pip install 'nearfar[charts]', or draw an SVG: --format svg.",
            data={"package": "vl-convert-python"},
        ) from None
    return bytes(vl_convert.svg_to_png(svg, scale=_SCALE))


def _rows(keys: list[str], edges: Iterable[tuple[str, str]]) -> list[list[str]]:
    """The steps by the length of the longest way to them; ways around a loop do not count."""
    onward: dict[str, list[str]] = {key: [] for key in keys}
    for source, target in edges:
        onward[source].append(target)
    forward = _without_loops(keys, onward)
    layer = dict.fromkeys(keys, 0)
    for _ in keys:  # each round settles at least one more layer
        for source, target in forward:
            layer[target] = max(layer[target], layer[source] + 1)
    rows: list[list[str]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for key in keys:
        rows[layer[key]].append(key)
    return rows


def _without_loops(keys: list[str], onward: dict[str, list[str]]) -> list[tuple[str, str]]:
    """The edges that a walk from the first step does not find to lead back."""
    done: set[str] = set()
    forward: list[tuple[str, str]] = []
    for start in keys:
        path = [(start, iter(onward[start]))] if start not in done else []
        on_path = {start}
        while path:
            key, rest = path[-1]
            target = next(rest, None)
            if target is None:
                done.add(key)
                on_path.discard(key)
                path.pop()
            elif target not in on_path:
                forward.append((key, target))
                if target not in done:
                    on_path.add(target)
                    path.append((target, iter(onward[target])))
    return forward


def _places(rows: list[list[str]], width: float, total: float) -> dict[str, Point]:
    """The middle of each box's upper edge."""
    places: dict[str, Point] = {}
    for number, row in enumerate(rows):
        left = (total - len(row) * (width + _ACROSS)) / 2
        for column, key in enumerate(row):
            across = left + (column + 0.5) * (width + _ACROSS)
            places[key] = (across, _MARGIN + number * (_HEIGHT + _DOWN))
    return places


def _box(place: Point, name: str, width: float) -> str:
    x, y = place
    label = escape(name.strip("_"))
    ends = name in ("__start__", "__end__")
    fill, round_ = ("#e8eefc", _HEIGHT / 2) if ends else ("#f6f6f2", 6)
    return (
        f'<rect x="{x - width / 2:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_HEIGHT}" '
        f'rx="{round_}" fill="{fill}" stroke="#444"/>'
        f'<text x="{x:.1f}" y="{y + 25:.1f}" text-anchor="middle" fill="#111">{label}</text>'
    )


def _edge(start: Point, end: Point, width: float, total: float, *, dashed: bool) -> str:
    style = ' stroke-dasharray="5 4"' if dashed else ""
    (x1, y1), (x2, y2) = start, end
    if y2 > y1:
        bend = (y2 - y1 - _HEIGHT) / 2
        way = (
            f"M{x1:.1f},{y1 + _HEIGHT:.1f} C{x1:.1f},{y1 + _HEIGHT + bend:.1f} "
            f"{x2:.1f},{y2 - bend:.1f} {x2:.1f},{y2:.1f}"
        )
    else:  # back: around the right side
        side = min(max(x1, x2) + width / 2 + _ACROSS, total - 4)
        way = (
            f"M{x1 + width / 2:.1f},{y1 + _HEIGHT / 2:.1f} C{side:.1f},{y1 + _HEIGHT / 2:.1f} "
            f"{side:.1f},{y2 + _HEIGHT / 2:.1f} {x2 + width / 2:.1f},{y2 + _HEIGHT / 2:.1f}"
        )
    return f'<path d="{way}" fill="none" stroke="#555"{style} marker-end="url(#tip)"/>'
