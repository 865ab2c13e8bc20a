"""Sum up a folder, and print each sentence with its source. Runs offline, on the built-in model.

python examples/summarize_folder.py docs/
"""

import sys
from pathlib import Path
from typing import Any

import nearfar


def summary_of(folder: str, sentences: int = 4) -> dict[str, Any]:
    """The summary, its citations, and what became of each document."""
    graph = nearfar.workflow("summarize")
    summary: dict[str, Any] = graph.invoke({"docs": [folder], "sentences": sentences})
    return summary


if __name__ == "__main__":
    found = summary_of(sys.argv[1])
    for citation in found["citations"]:
        sys.stdout.write(f"{citation['quote']}\n    {Path(citation['source']).name}\n")
