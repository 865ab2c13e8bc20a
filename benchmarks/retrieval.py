"""Embeddings, indexing, and search over many passages.

    python benchmarks/retrieval.py [--json] [--quick] [--chunks N]

Documents and vectors are made up, by a fixed seed; the embedding model is the built-in one.
"""

import argparse
from dataclasses import replace

from _report import Row, show

from nearfar.doctor import bench
from nearfar.settings import Settings

FULL = bench.Sizes(passages=300, documents=100, chunks=100_000, queries=100)


def measure(sizes: bench.Sizes) -> list[Row]:
    rows = []
    settings = Settings()  # the defaults, whatever this machine's nearfar.yaml says
    for figures in (
        bench.bench_embeddings(settings, sizes),
        bench.bench_documents(settings, sizes),
        bench.bench_retrieval(sizes),
    ):
        for figure in figures:
            in_ms = figure.unit == "s"
            value = 1000 * figure.value if in_ms else figure.value
            rows.append(Row(figure.name, value, "ms" if in_ms else figure.unit, note=figure.detail))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run at all")
    parser.add_argument("--chunks", type=int, default=None, help="passages to search in")
    options = parser.parse_args()
    sizes = bench.QUICK if options.quick else FULL
    if options.chunks:
        sizes = replace(sizes, chunks=options.chunks)
    show("Retrieval", measure(sizes), as_json=options.json, data={"chunks": sizes.chunks})


if __name__ == "__main__":
    main()
