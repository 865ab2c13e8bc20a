"""Rows with targets, as a table for people and as JSON for programs."""

import json
import os
import platform
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any


@dataclass(frozen=True)
class Row:
    """One figure. ``target`` is the limit it is held to, ``at_most`` the side it must be on."""

    name: str
    value: float
    unit: str
    target: float | None = None
    at_most: bool = True
    note: str = ""

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.value <= self.target if self.at_most else self.value >= self.target


def median(values: Iterable[float]) -> float:
    return statistics.median(list(values))


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def environment() -> dict[str, Any]:
    packages = ("nearfar", "onnxruntime", "onnxruntime-genai", "tokenizers", "faiss-cpu")
    versions = {}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_average": load,
        "versions": versions,
    }


def show(title: str, rows: Sequence[Row], *, as_json: bool, data: dict[str, Any]) -> None:
    """JSON (one object) or a Markdown table, on standard output."""
    where = environment()
    if as_json:
        listed = [{**asdict(row), "met": row.met} for row in rows]
        json.dump({"title": title, "environment": where, "rows": listed, "data": data}, sys.stdout)
        print()
        return
    versions = ", ".join(f"{name} {version}" for name, version in where["versions"].items())
    print(f"## {title}\n\n{where['system']}, {where['cores']} cores, {versions}\n")
    print("| What | Measured | Target | |\n|---|---:|---:|---|")
    for row in rows:
        sign = "" if row.target is None else ("<= " if row.at_most else ">= ") + f"{row.target:g}"
        verdict = {None: "", True: "met", False: "MISSED"}[row.met]
        note = f" ({row.note})" if row.note else ""
        print(f"| {row.name}{note} | {row.value:.4g} {row.unit} | {sign} | {verdict} |")
