"""Invoices into a table: a pydantic class says what a row is. Runs offline, on the built-in model.

nearfar run extract --docs invoices/ --schema examples/extract_invoices.py:Invoice --out rows.csv
"""

from typing import Annotated, Any

from pydantic import BaseModel, Field

import nearfar


class Invoice(BaseModel):
    """One row."""

    vendor: str
    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    total: Annotated[float, Field(ge=0)]


def table_of(folder: str, out: str) -> dict[str, Any]:
    """Writes ``out`` (.csv, .jsonl or .db) and says what could not be read."""
    schema = f"{__file__}:{Invoice.__name__}"
    graph = nearfar.workflow("extract")
    told: dict[str, Any] = graph.invoke({"docs": [folder], "schema": schema, "out": out})
    return told
