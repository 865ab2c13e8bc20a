"""Defects that rules find in code: by lines in any language, by syntax in Python."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from .sources import Source

Role = Literal["correctness", "security", "maintainability"]
Severity = Literal["high", "medium", "low"]

ROLES: tuple[Role, ...] = ("correctness", "security", "maintainability")
_LONG_FUNCTION = 80
_MANY_PARAMETERS = 8
_DEEP = 6


@dataclass(frozen=True)
class Found:
    """One defect at a line that exists."""

    role: Role
    line: int
    severity: Severity
    title: str
    detail: str


def look(source: Source) -> list[Found]:
    """What the rules find, by line; of a diff only in what it adds."""
    found = list(_by_lines(source))
    if source["file"].endswith((".py", ".pyi")) and source["whole"]:
        found += _by_syntax(source)
    wanted = source["changed"]
    kept = {(f.line, f.title): f for f in found if wanted is None or f.line in wanted}
    return sorted(kept.values(), key=lambda f: (f.line, f.title))


@dataclass(frozen=True)
class _Line:
    pattern: re.Pattern[str]
    endings: tuple[str, ...]  # of files; none: all
    role: Role
    severity: Severity
    title: str
    detail: str


def _line(
    pattern: str, endings: str, role: Role, severity: Severity, title: str, *, detail: str
) -> _Line:
    return _Line(re.compile(pattern), tuple(endings.split()), role, severity, title, detail)


_WEB = ".js .jsx .mjs .ts .tsx .vue"
_C = ".c .cc .cpp .h .hpp"
_LINES = (
    _line(r"^(?:<{7} |={7}$|>{7} )", "", "correctness", "high", "Merge conflict marker",
          detail="A conflict was not resolved; take one side and remove the markers."),
    _line(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----", "", "security", "high", "Private key in the code",
          detail="Anyone who reads the code has it; remove it and make a new one."),
    _line(r"\b(?:AKIA[0-9A-Z]{16}|ghp_[A-Za-z0-9]{36}|sk-[A-Za-z0-9_-]{20,}|AIza[0-9A-Za-z_-]{35})\b", "",
          "security", "high", "Access key in the code",
          detail="Anyone who reads the code has it; remove it and make a new one."),
    _line(r"\b(?i:password|passwd|secret|api_?key|auth_?token)\b\s*[:=]\s*['\"][^'\"\s]{8,}['\"]", "",
          "security", "high", "Secret written into the code",
          detail="Read it from the environment or a secret store, and make a new one."),
    _line(r"\b(?:TODO|FIXME|XXX)\b", "", "maintainability", "low", "Unfinished work",
          detail="Do it, or note it where work is planned."),
    _line(r"\beval\s*\(", _WEB + " .php .rb", "security", "high", "Code is made from text",
          detail="eval runs whatever the text holds; parse the value instead."),
    _line(r"\.(?:inner|outer)HTML\s*=(?!=)|document\.write\s*\(", _WEB, "security", "medium",
          "HTML is made from text", detail="Text with tags becomes page; set textContent instead."),
    _line(r"\b(?:gets|strcpy|strcat|sprintf)\s*\(", _C, "security", "high", "Write without a length",
          detail="It writes past the end of the buffer; use the variant that takes a size."),
    _line(r"(?i)^\s*(?:delete\s+from|update)\s+[\w.\"`]+(?:\s+set\s[^;]*)?;\s*$(?<!where)", ".sql",
          "correctness", "high", "Every row is changed", detail="There is no WHERE; add one."),
    _line(r"\brm\s+-[a-zA-Z]*r[a-zA-Z]*\s+(?:-\S+\s+)*\$\{?\w", ".sh .bash", "correctness", "high",
          "rm -r of an unquoted variable",
          detail="Empty or with spaces, it deletes something else; quote it and check that it is set."),
    _line(r"\b(?:curl|wget)\b[^|#]*\|\s*(?:sudo\s+)?(?:ba)?sh\b", "", "security", "medium",
          "A download is run unseen", detail="Download it, check its digest, then run it."),
)  # fmt: skip


def _by_lines(source: Source) -> Iterator[Found]:
    for number, text in enumerate(source["lines"], 1):
        if len(text) > 2000:
            continue
        for rule in _LINES:
            fits = not rule.endings or source["file"].endswith(rule.endings)
            if fits and rule.pattern.search(text):
                if rule.title == "Every row is changed" and "where" in text.lower():
                    continue
                yield Found(rule.role, number, rule.severity, rule.title, rule.detail)


def _by_syntax(source: Source) -> list[Found]:
    try:
        tree = ast.parse("\n".join(source["lines"]))
    except SyntaxError as error:
        line = min(max(error.lineno or 1, 1), len(source["lines"]))
        told = "This is not valid Python"
        return [Found("correctness", line, "high", told, f"{error.msg}; nothing here can run.")]
    except (RecursionError, ValueError):
        return []
    found: list[Found] = []
    for node in ast.walk(tree):
        for check in _CHECKS:
            found += check(node)
    return found


def _found(
    node: ast.AST, role: Role, severity: Severity, title: str, *, detail: str
) -> list[Found]:
    return [Found(role, getattr(node, "lineno", 1), severity, title, detail)]


def _called(node: ast.AST) -> str:
    """``os.system`` for a call of it, ``.close`` for one of whatever an expression gives."""
    if not isinstance(node, ast.Call):
        return ""
    parts: list[str] = []
    target: ast.expr = node.func
    while isinstance(target, ast.Attribute):
        parts.append(target.attr)
        target = target.value
    parts.append(target.id if isinstance(target, ast.Name) else "")
    return ".".join(reversed(parts))


def _option(node: ast.AST, name: str) -> object:
    for keyword in getattr(node, "keywords", ()):
        if keyword.arg == name:
            value: ast.expr = keyword.value
            return value.value if isinstance(value, ast.Constant) else value
    return None


_DANGEROUS: dict[str, tuple[Severity, str, str]] = {
    "eval": ("high", "Code is made from text", "eval runs whatever the text holds; parse it with ast.literal_eval or json."),
    "exec": ("high", "Code is made from text", "exec runs whatever the text holds; call a function instead."),
    "os.system": ("high", "A shell gets a text", "What stands in the text can be another command; use subprocess.run with a list."),
    "os.popen": ("high", "A shell gets a text", "What stands in the text can be another command; use subprocess.run with a list."),
    "pickle.load": ("high", "Unpickling runs code", "A pickle from outside can run anything; use JSON."),
    "pickle.loads": ("high", "Unpickling runs code", "A pickle from outside can run anything; use JSON."),
    "marshal.loads": ("high", "Unmarshalling untrusted data", "It can crash the interpreter; use JSON."),
    "tempfile.mktemp": ("medium", "A name for a file that is not made", "Someone else can make it first; use NamedTemporaryFile."),
    "hashlib.md5": ("low", "A weak hash", "MD5 can be forged; use hashlib.sha256 where that matters."),
    "hashlib.sha1": ("low", "A weak hash", "SHA-1 can be forged; use hashlib.sha256 where that matters."),
}  # fmt: skip


def _dangerous_calls(node: ast.AST) -> list[Found]:
    name = _called(node)
    if name in _DANGEROUS:
        severity, title, detail = _DANGEROUS[name]
        return _found(node, "security", severity, title, detail=detail)
    if name in ("yaml.load", "yaml.load_all") and not _safe_loader(node):
        detail = "It can make any object; use yaml.safe_load."
        return _found(node, "security", "high", "YAML that can run code", detail=detail)
    if _option(node, "shell") is True:
        detail = "What stands in the text can be another command; give a list, without shell=True."
        return _found(node, "security", "high", "A shell gets a text", detail=detail)
    if _option(node, "verify") is False:
        detail = "Anyone on the way can read and change it; leave verify on."
        return _found(node, "security", "high", "Certificates are not checked", detail=detail)
    if name.startswith("requests.") and name.count(".") == 1 and _is_request(name, node):
        detail = "A server that is silent stops the program for ever; give timeout=."
        return _found(node, "correctness", "medium", "A request without a timeout", detail=detail)
    return []


def _safe_loader(node: ast.AST) -> bool:
    arguments = [*getattr(node, "args", ())[1:], _option(node, "Loader")]
    return any("Safe" in ast.dump(a) for a in arguments if isinstance(a, ast.AST))


def _is_request(name: str, node: ast.AST) -> bool:
    verbs = {"get", "post", "put", "patch", "delete", "head", "request"}
    return name.partition(".")[2] in verbs and _option(node, "timeout") is None


def _sql_from_text(node: ast.AST) -> list[Found]:
    if not _called(node).endswith((".execute", ".executemany", ".executescript")):
        return []
    first = next(iter(getattr(node, "args", ())), None)
    made = isinstance(first, ast.JoinedStr) and len(first.values) > 1
    made |= isinstance(first, ast.BinOp) and isinstance(first.op, ast.Add | ast.Mod)
    made |= isinstance(first, ast.Call) and isinstance(first.func, ast.Attribute) and first.func.attr == "format"  # fmt: skip
    if not made:
        return []
    detail = "A value can be another statement; give values as parameters."
    return _found(node, "security", "high", "SQL is made from text", detail=detail)


def _handlers(node: ast.AST) -> list[Found]:
    if not isinstance(node, ast.ExceptHandler):
        return []
    broad = isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")
    silent = all(isinstance(part, ast.Pass) for part in node.body)
    if node.type is None:
        detail = "It also catches Ctrl-C and the program's end; name the errors that are meant."
        return _found(node, "correctness", "medium", "Every exception is caught", detail=detail)
    if broad and silent:
        detail = "What goes wrong is never seen; handle it, or name the errors that are meant."
        return _found(node, "correctness", "medium", "Errors vanish", detail=detail)
    return []


def _functions(node: ast.AST) -> list[Found]:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return []
    found: list[Found] = []
    for default in [*node.args.defaults, *(d for d in node.args.kw_defaults if d)]:
        if isinstance(default, ast.List | ast.Dict | ast.Set) or _called(default) in (
            "list", "dict", "set",
        ):  # fmt: skip
            detail = "All calls share the one object; use None and make it inside."
            found += _found(
                default, "correctness", "medium", "A default value that changes", detail=detail
            )
    length = (node.end_lineno or node.lineno) - node.lineno + 1
    if length > _LONG_FUNCTION:
        detail = f"{node.name} has {length} lines; cut it where a part has a name of its own."
        found += _found(node, "maintainability", "low", "A long function", detail=detail)
    count = len(node.args.args) + len(node.args.kwonlyargs)
    if count > _MANY_PARAMETERS:
        detail = f"{node.name} takes {count}; put those that go together into one object."
        found += _found(node, "maintainability", "low", "Many parameters", detail=detail)
    if _depth(node) > _DEEP:
        detail = f"{node.name} nests {_depth(node)} levels; return early, or cut out a function."
        found += _found(node, "maintainability", "low", "Deep nesting", detail=detail)
    return found


def _depth(node: ast.AST) -> int:
    nests = isinstance(node, ast.If | ast.For | ast.While | ast.With | ast.Try | ast.AsyncFor)
    return int(nests) + max((_depth(child) for child in ast.iter_child_nodes(node)), default=0)


def _comparisons(node: ast.AST) -> list[Found]:
    if not isinstance(node, ast.Compare):
        return []
    for operator, other in zip(node.ops, node.comparators, strict=True):
        if not isinstance(other, ast.Constant):
            continue
        value = other.value
        if isinstance(operator, ast.Eq | ast.NotEq) and value is None:
            detail = "An object may say that it equals None; use `is None`."
            return _found(node, "correctness", "low", "None compared by value", detail=detail)
        literal = isinstance(value, str | int | float) and not isinstance(value, bool)
        if isinstance(operator, ast.Is | ast.IsNot) and literal:
            detail = "Equal values need not be the same object; use ==."
            title = "A value compared by identity"
            return _found(node, "correctness", "medium", title, detail=detail)
    return []


def _statements(node: ast.AST) -> list[Found]:
    found: list[Found] = []
    if isinstance(node, ast.Assert) and isinstance(node.test, ast.Tuple) and node.test.elts:
        detail = "A tuple is always true; take the brackets away."
        found += _found(node, "correctness", "high", "An assertion that never fails", detail=detail)
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name | ast.Call):
        name = node.exc.id if isinstance(node.exc, ast.Name) else _called(node.exc)
        if name == "NotImplemented":
            detail = "It is no exception; raise NotImplementedError."
            found += _found(
                node, "correctness", "medium", "NotImplemented is raised", detail=detail
            )
    if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
        detail = "Nobody sees where names come from; import them by name."
        found += _found(node, "maintainability", "low", "Everything is imported", detail=detail)
    if isinstance(node, ast.Dict):
        keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
        if len(keys) != len(set(keys)):
            detail = "Only the last value of a key stays; take the others away."
            found += _found(node, "correctness", "medium", "A key stands twice", detail=detail)
    return found + _unreachable(node)


def _unreachable(node: ast.AST) -> list[Found]:
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, None)
        if not isinstance(block, list):
            continue
        for place, part in enumerate(block[:-1]):
            if isinstance(part, ast.Return | ast.Raise | ast.Break | ast.Continue):
                detail = "The block is left before; delete it, or mend the condition."
                return _found(
                    block[place + 1], "correctness", "medium", "Code that never runs", detail=detail
                )
    return []


_CHECKS = (_dangerous_calls, _sql_from_text, _handlers, _functions, _comparisons, _statements)
