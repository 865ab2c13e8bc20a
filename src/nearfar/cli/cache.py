"""``nearfar cache``: what the caches of answers hold, and how to empty or fill them."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nearfar.errors import UsageError

from .context import settings as current_settings
from .output import emit_json, run_async

if TYPE_CHECKING:
    from nearfar.llm.cache import CacheStats
    from nearfar.llm.cache.redis_store import RedisStore
    from nearfar.settings import Settings

app = typer.Typer(add_completion=False, no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_NUMBERS = ("entries", "bytes", "hits", "misses", "stored", "evicted")


@app.command("stats")
def show_stats(*, as_json: JsonOption = False) -> None:
    """Show what each cache holds, and how often it had the answer."""
    from nearfar.llm.cache import stats

    known = current_settings()
    rows = _with_configured([*stats(), *(c.stats() for c in _elsewhere(known))], known)
    if as_json:
        emit_json({"caches": [_plain(row, kind) for row, kind in rows]})
        return
    if not rows:
        sys.stdout.write("No cache is configured, and none was used yet.\n")
        return
    lines = [("CACHE", "KIND", *(name.upper() for name in _NUMBERS), "HIT RATE")]
    for row, kind in rows:
        known_numbers = (getattr(row, name) for name in _NUMBERS)
        numbers = ["-" if number is None else str(number) for number in known_numbers]
        lines.append((row.name, kind or "-", *numbers, f"{row.hit_rate:.1%}"))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for cells in lines:
        padded = [
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


@app.command("clear")
def clear_answers(
    name: Annotated[str | None, typer.Argument(help="The cache; unset: all of them.")] = None,
    *,
    model: Annotated[
        str | None, typer.Option(help="Only its answers: a model's id, or its name in a router.")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's answers.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Delete answers: all, or those of a cache, a model or a tenant."""
    from nearfar.llm.cache import clear, stats

    settings = current_settings()
    known = {row.name for row in stats()} | set(settings.caches)
    if name is not None and name not in known:
        raise UsageError(
            f"There is no cache {name!r}.", data={"name": name, "known": sorted(known)}
        )
    removed = clear(name, model=model, tenant=tenant)
    for cache in _elsewhere(settings):
        if name in (None, cache.name):
            removed += cache.remove(model=model, tenant=tenant)
    if as_json:
        emit_json({"removed": removed})
    else:
        sys.stdout.write(f"{removed} answers deleted.\n")


@app.command("warm")
def warm_up(
    file: Annotated[Path, typer.Argument(help="Prompts, one JSON object on each line.")],
    *,
    router: Annotated[
        str | None, typer.Option(help="The router; unset: the one called default.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a router prompts in advance, so that their answers are there."""
    from nearfar.llm import routed
    from nearfar.llm.cache import warm

    known = current_settings()
    model = routed(router, settings=known)
    own = known.routers.get(router or "default")
    if own is None or own.cache is None:
        raise UsageError(
            "This router has no cache.", remedy="Give it one: `cache: NAME`, under `caches:`."
        )
    report = run_async(warm(model, file))
    for line, error in report.failed:
        sys.stderr.write(f"Line {line} was not answered: {error.message}\n")
    if as_json:
        failed = [{"line": line, "error": error.to_dict()} for line, error in report.failed]
        counts = {"stored": report.stored, "present": report.present}
        emit_json({**counts, "not_stored": report.not_stored, "failed": failed})
    else:
        sys.stdout.write(
            f"{report.stored} answers stored, {report.present} were there, "
            f"{report.not_stored} cannot be stored, {len(report.failed)} failed.\n"
        )
    if report.failed:
        raise typer.Exit(1)


def _elsewhere(settings: "Settings") -> "list[RedisStore]":
    """The caches that are not in the file."""
    urls = {name: own.url for name, own in settings.caches.items() if own.url is not None}
    if not urls:
        return []
    from nearfar.llm.cache.redis_store import RedisStore

    return [RedisStore(url.get_secret_value(), name) for name, url in urls.items()]


def _with_configured(
    used: "list[CacheStats]", settings: "Settings"
) -> "list[tuple[CacheStats, str | None]]":
    """Caches that were used or are configured, by name; with the kind where the settings say it."""
    from nearfar.llm.cache import CacheStats

    rows = {name: CacheStats(name) for name in settings.caches} | {row.name: row for row in used}
    kinds = {name: options.kind for name, options in settings.caches.items()}
    return [(rows[name], kinds.get(name)) for name in sorted(rows)]


def _plain(row: "CacheStats", kind: str | None) -> dict[str, Any]:
    counts = {name: getattr(row, name) for name in _NUMBERS}
    return {"name": row.name, "kind": kind, **counts, "hit_rate": round(row.hit_rate, 4)}
