"""The indexes: whether all of each is there and whole, and which documents have changed since."""

from collections.abc import Iterator

from nearfar.settings import Settings

from .report import Check


def check_index(name: str, settings: Settings) -> Iterator[Check]:
    """Read the whole index called ``name``."""
    from nearfar.retrieval.index import Index

    index = Index.open(name, settings=settings)
    found, info = index.check(), index.info()
    detail = f"{info.files} files, {info.chunks} passages"
    if not found.ok:
        more = f" and {len(found.problems) - 3} more" if len(found.problems) > 3 else ""
        yield Check(
            f"index {name}",
            False,
            f"{detail}: {'; '.join(found.problems[:3])}{more}",
            f"Make it anew: `nearfar index remove {name}`, then `nearfar index add PATH --name "
            f"{name}`.",
        )
    elif found.stale:
        detail += f"; {len(found.stale)} files are new, changed or gone since"
        yield Check(
            f"index {name}",
            True,
            detail,
            f"`nearfar index add --name {name}` brings it up to date.",
        )
    else:
        yield Check(f"index {name}", True, f"{detail}, all whole")
