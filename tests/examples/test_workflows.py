"""The examples of the workflows that come with Nearfar do what they say, offline."""

import importlib.util
from pathlib import Path
from types import ModuleType

import nearfar

EXAMPLES = Path(__file__).parents[2] / "examples"
CORPUS = Path(__file__).parents[1] / "data" / "ask_corpus"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_folder_is_summed_up_in_sentences_of_its_own() -> None:
    found = load("summarize_folder").summary_of(str(CORPUS), 3)
    assert len(found["citations"]) == 3
    for citation in found["citations"]:
        text = " ".join(Path(citation["source"]).read_text(encoding="utf-8").split())
        assert citation["quote"] in text


def test_invoices_become_a_table(tmp_path: Path) -> None:
    folder = tmp_path / "invoices"
    folder.mkdir()
    text = "# Invoice\n\nVendor: Kiln Ltd\nDate: 2026-03-04\nTotal: 1,250.50 EUR\n"
    (folder / "a.md").write_text(text, encoding="utf-8")
    out = tmp_path / "rows.csv"
    assert load("extract_invoices").table_of(str(folder), str(out))["rows"] == 1
    assert "Kiln Ltd,2026-03-04,1250.5" in out.read_text(encoding="utf-8")


async def test_a_letter_goes_out_once_when_it_is_approved(tmp_path: Path) -> None:
    outbox = tmp_path / "outbox.txt"
    async with nearfar.Runner() as runner:
        flow = f"{EXAMPLES / 'approve_letter.py'}:graph"
        run = await runner.start(flow, {"draft": "Dear Ada", "to": str(outbox)})
        assert "__interrupt__" in await run.result()
        assert not outbox.exists()
        run = await runner.resume(run.id, value="approve")
        assert (await run.result())["result"] == "posted"
    assert outbox.read_text(encoding="utf-8") == "Dear Ada\n--\n"
