"""Source code: a block for each definition, with its qualified name as the heading."""

import ast
import re
import warnings

from .document import Block

_DEFINITION = re.compile(
    r"(?:(?:export|default|pub(?:\([a-z]+\))?|public|private|protected|internal|static|abstract"
    r"|final|sealed|async|unsafe|inline|declare|open|data|case|partial|virtual|override)\s+)*"
    r"(?:class|struct|interface|trait|impl|enum|fn|func|function|def|module|namespace|type|record"
    r"|object|protocol|extension|message|service|sub|create\s+table|create\s+view)\b[\s*]*"
    r"(?:\([^()]*\)\s*)?([\w$.:<>]*\w)",
    re.IGNORECASE,
)


_MAX_PARSED = 2_000_000  # characters; a syntax tree takes some hundred times its text


def python(text: str) -> tuple[list[Block], str | None]:
    """Blocks along top-level definitions and methods; plain code where it does not parse."""
    if len(text) > _MAX_PARSED:
        return generic(text), None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return generic(text), None
    parser = _Definitions(text)
    parser.walk(tree.body, (), 0, len(text))
    docstring = ast.get_docstring(tree)
    title = docstring.strip().split("\n", 1)[0] if docstring and docstring.strip() else None
    return parser.blocks, title


class _Definitions:
    """Cuts a module along its definitions; what stands between them is a block of its own."""

    def __init__(self, text: str) -> None:
        self.blocks: list[Block] = []
        self._starts = [0]  # of each line, and the end of the text
        for line in text.split("\n"):
            self._starts.append(self._starts[-1] + len(line) + 1)
        self._starts[-1] = len(text)

    def walk(self, body: list[ast.stmt], names: tuple[str, ...], start: int, end: int) -> None:
        """Cover ``start`` to ``end``, the definition of ``names`` or the whole module."""
        at = start
        for node in body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            begin = max(at, self._starts[first - 1])
            stop = self._starts[node.end_lineno or node.lineno]
            if stop <= begin:
                continue  # several definitions on one line
            self._add(at, begin, names)
            inner = (*names, node.name)
            if isinstance(node, ast.ClassDef) and len(names) < 3:
                self.walk(node.body, inner, begin, stop)
            else:
                self._add(begin, stop, inner)
            at = stop
        self._add(at, end, names)

    def _add(self, start: int, end: int, names: tuple[str, ...]) -> None:
        self.blocks.append(Block(start, end, "code", None, _heading(names)))


def _heading(names: tuple[str, ...]) -> tuple[str, ...]:
    return (".".join(names),) if names else ()


def generic(text: str) -> list[Block]:
    """Blocks that begin at an unindented line after a blank one; a definition's name if seen."""
    blocks: list[Block] = []
    begin = at = 0
    heading: tuple[str, ...] = ()
    blank = True
    for line in text.split("\n"):
        if line.strip() and blank and not line[0].isspace() and line[0] not in "})]":
            if at > begin:
                blocks.append(Block(begin, at, "code", None, heading))
            begin, heading = at, ()
        if not heading and (found := _DEFINITION.match(line)):
            heading = (found[1],)
        blank = not line.strip()
        at += len(line) + 1
    blocks.append(Block(begin, len(text), "code", None, heading))
    return blocks
