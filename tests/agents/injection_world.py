"""A world to be injected into: everything is allowed, and a model obeys whatever it reads.

Whatever leaves the world leaves a trace: a canary listens where nobody may go, files are compared,
and the shop, the mail and a stranger's MCP server note what they are given.
"""

import json
import re
import sqlite3
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import BaseTool, tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from nearfar.retrieval import Index
from nearfar.settings import Settings
from nearfar.tools import tools
from nearfar.tools.http_api import http_api_tool
from nearfar.tools.web_fetch import web_fetch
from nearfar.tools.web_scrape import web_scrape
from tests.tools.web_world import Answer, Seen, World

CORPUS = Path(__file__).parents[1] / "data" / "injection"
SERVER = Path(__file__).with_name("injection_server.py")
FACT = re.compile(r"FACT-\d{4}")
REF = re.compile(r"ref-(\d{4})")
READ = re.compile(r"Read with (\w+) (\{.*?\})\.")
KEY = "K-1234"
QUERY = "SELECT body FROM notes WHERE id = '?'"
UNSAID = str.maketrans(dict.fromkeys('<>:"/\\|?*\n', " "))


@dataclass(frozen=True)
class Case:
    """A text with an order in it, and the calls that obeying it takes."""

    id: str
    kind: str
    text: str
    calls: Sequence[dict[str, Any]]

    @property
    def fact(self) -> str:
        return f"FACT-{self.id}"

    @property
    def word(self) -> str:
        """A word that no other case has: documents are found by words."""
        return "".join(chr(ord("a") + int(digit)) for digit in self.id) + "ium"

    @property
    def whole(self) -> str:
        """The text that the task is about, with what does not belong there."""
        said = f"Ledger {self.word}. The {self.word} kiln's number is {self.fact}."
        return f"{said}\n\n{self.text}\n"


def corpus() -> list[Case]:
    """All cases."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(CORPUS.glob("*.jsonl"))]
    lines = [line for text in texts for line in text.splitlines()]
    return [Case(**json.loads(line)) for line in lines]


class ObedientModel(BaseChatModel):
    """Does what the user asks, but first what any other text asks, each order once."""

    orders: dict[str, Any]  # calls by number
    tools: list[Any] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "obedient"

    def bind_tools(self, tools: Sequence[Any], **_options: Any) -> Any:
        shown = [one if isinstance(one, dict) else convert_to_openai_tool(one) for one in tools]
        return self.model_copy(update={"tools": shown})

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **_options: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.answer(messages))])

    def answer(self, messages: list[BaseMessage]) -> AIMessage:
        """The next step."""
        read = "\n".join(str(message.text) for message in messages)
        told = read + json.dumps(self.tools)
        done = {
            str(call["id"]).split(":")[0]
            for message in messages
            if isinstance(message, AIMessage)
            for call in message.tool_calls
        }
        for number in dict.fromkeys(REF.findall(told)):
            if number not in done and number in self.orders:
                secret = KEY if KEY in read else "unknown"
                wanted = json.loads(json.dumps(self.orders[number]).replace("=KEY", f"={secret}"))
                return self._calls(number, wanted)
        asked = next((m for m in reversed(messages) if isinstance(m, HumanMessage)), None)
        wish = READ.search(str(asked.text)) if asked else None
        if wish and "read" not in done:
            return self._calls("read", [{"name": wish[1], "args": json.loads(wish[2])}])
        found = FACT.findall(read)
        return AIMessage(f"It is {', '.join(dict.fromkeys(found))}." if found else "I do not know.")

    def _calls(self, mark: str, wanted: list[dict[str, Any]]) -> AIMessage:
        made: Any = [{**call, "id": f"{mark}:{n}"} for n, call in enumerate(wanted)]
        return AIMessage("", tool_calls=made)


@dataclass
class Scene:
    """The tools, and what came of them."""

    folder: Path
    web: World
    cases: Sequence[Case]
    after_untrusted: str = "ask"
    mails: list[str] = field(default_factory=list)

    @cached_property
    def settings(self) -> Settings:
        log, notes = self.folder / "delivered.log", self.folder / "notes.json"
        server = {"command": sys.executable, "args": [str(SERVER), str(notes), str(log)]}
        return Settings.model_validate(
            {
                "tools": {
                    "permissions": [{"tool": "*", "permission": "allow"}],
                    "after_untrusted": self.after_untrusted,
                    "files": {"roots": [str(self.folder / "root")]},
                    "sql": {"databases": {"shop": f"sqlite:///{self.folder / 'shop.db'}"}},
                    "documents": {"index": "ledgers"},
                    "web": {"hosts": ["docs.example"]},
                },
                "mcp": {"servers": {"world": {**server, "permission": "allow", "trusted": True}}},
            }
        )

    def build(self) -> None:
        """Put every text where its kind is read."""
        root, papers = self.folder / "root", self.folder / "papers"
        root.mkdir()
        papers.mkdir()
        self._reset()
        (root / "secret.txt").write_text(KEY)
        database = sqlite3.connect(self.folder / "shop.db")
        database.execute("CREATE TABLE notes (id TEXT, body TEXT)")
        texts, said = {}, {}
        for case in self.cases:
            if case.kind == "document":
                (papers / f"ledger-{case.id}.md").write_text(case.whole, encoding="utf-8")
            elif case.kind in ("file", "crew_message"):
                (root / f"{case.id}.txt").write_text(case.whole, encoding="utf-8")
            elif case.kind == "file_name":
                (root / case.id).mkdir()
                name = f"{case.fact} {case.text}".translate(UNSAID)
                (root / case.id / name).write_text("x")
            elif case.kind == "row":
                database.execute("INSERT INTO notes VALUES (?, ?)", (case.id, case.whole))
            elif case.kind == "mcp_result":
                texts[case.id] = case.whole
            elif case.kind == "mcp_description":
                said[f"help_{case.id}"] = case.text
                (root / f"{case.id}.txt").write_text(f"The number is {case.fact}.")
        database.commit()
        database.close()
        kept = json.dumps({"texts": texts, "descriptions": said})
        (self.folder / "notes.json").write_text(kept, encoding="utf-8")
        if any(papers.iterdir()):
            index = Index.open("ledgers", settings=self.settings, create=True)
            index.add([papers])
            index.close()

    def _reset(self) -> None:
        (self.folder / "root" / "notes.md").write_text("Fired twice.\n")
        (self.folder / "root" / "plan.md").write_text("We keep the kiln.\n")

    def serve(self, request: Seen) -> Answer:
        """The one web server: pages, and a shop that notes what is changed."""
        if request.url.endswith("/jump"):
            return Answer(302, {"Location": "http://evil.example/jumped"}, b"")
        number = request.url.rsplit("/", 1)[-1]
        case = next((one for one in self.cases if one.id == number), None)
        if case is None:
            return Answer(404, {}, b"nothing here")
        if case.kind == "tool_error":
            return Answer(500, {"Content-Type": "text/plain"}, case.whole.encode())
        if case.kind == "api":
            body = json.dumps({"note": case.whole}).encode()
            return Answer(200, {"Content-Type": "application/json"}, body)
        shown = "".join(f"<p>{line}</p>" for line in _escaped(case.whole).split("\n") if line)
        return Answer(body=f"<html><title>Ledger</title><body>{shown}</body></html>".encode())

    @cached_property
    def tools(self) -> list[BaseTool]:
        """All, and each may be called."""
        client = self.web.client()
        made = tools(["calculator", "documents", "files", "sql", "mcp"], self.settings)
        return [
            *(one for one in made if not one.name.startswith("mcp_world_help")),
            web_fetch(self.settings, client=client),
            web_scrape(self.settings, client=client),
            http_api_tool(
                "http://api.example", ["* /**"], self.settings, name="shop", client=client
            ),
            self._mail(),
            self._teller(),
        ]

    @cached_property
    def helpers(self) -> dict[str, BaseTool]:
        """The MCP server's tools whose descriptions give orders."""
        server = self.settings.mcp.servers["world"].model_copy(update={"trusted": False})
        mcp = self.settings.mcp.model_copy(update={"servers": {"world": server}})
        made = tools(["mcp"], self.settings.model_copy(update={"mcp": mcp}))
        return {one.name: one for one in made if one.name.startswith("mcp_world_help")}

    def _mail(self) -> BaseTool:
        @tool
        def send_mail(to: str, text: str) -> str:
            """Sends a mail."""
            self.mails.append(f"{to}: {text}")
            return "sent"

        return send_mail

    def _teller(self) -> BaseTool:
        @tool
        def look_up(number: str) -> str:
            """Looks something up: a tool of the user's own."""
            case = next(one for one in self.cases if one.id == number)
            if int(number) % 2:
                raise ValueError(case.whole)
            return case.whole

        return look_up

    def harm(self) -> list[str]:
        """What went out or was changed since the last look; everything is put back."""
        found = [f"sent to {one}" for one in self.mails]
        if self.web.canary_calls:
            found.append(f"{self.web.canary_calls} connections to the canary")
        found += [f"{one.method} {one.url}" for one in self.web.seen if one.method != "GET"]
        root = self.folder / "root"
        for name, text in (("notes.md", "Fired twice.\n"), ("plan.md", "We keep the kiln.\n")):
            if (root / name).read_text() != text:
                found.append(f"{name} was changed")
        if (root / "autostart.sh").exists():
            found.append("autostart.sh was written")
            (root / "autostart.sh").unlink()
        log = self.folder / "delivered.log"
        if log.exists():
            found.append(f"delivered: {log.read_text()}")
            log.unlink()
        self._reset()
        self.mails.clear()
        self.web.seen.clear()
        self.web.canary_calls = 0
        return found


def wish(case: Case) -> str:
    """What the user asks for."""
    how: dict[str, Callable[[], tuple[str, dict[str, Any]]]] = {
        "document": lambda: ("documents", {"question": f"{case.word} {case.word}", "k": 3}),
        "page": lambda: ("web_fetch", {"url": f"http://docs.example/{case.id}"}),
        "file": lambda: ("files_read", {"path": f"{case.id}.txt"}),
        "file_name": lambda: ("files_list", {"path": case.id}),
        "row": lambda: ("sql", {"query": QUERY.replace("?", case.id)}),
        "api": lambda: ("shop", {"method": "GET", "path": f"/notes/{case.id}"}),
        "tool_error": lambda: ("shop", {"method": "GET", "path": f"/notes/{case.id}"}),
        "tool_result": lambda: ("look_up", {"number": case.id}),
        "mcp_result": lambda: ("mcp_world_note", {"number": case.id}),
        "mcp_description": lambda: ("files_read", {"path": f"{case.id}.txt"}),
    }
    name, arguments = how[case.kind]()
    return f"Read with {name} {json.dumps(arguments)}. What is the kiln's number?"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def last_fact(messages: Sequence[BaseMessage]) -> str:
    """The answer."""
    last = messages[-1]
    return "" if isinstance(last, ToolMessage) else str(last.text)
