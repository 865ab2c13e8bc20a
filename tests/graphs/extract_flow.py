"""``extract`` with a model that writes down, in the file EXTRACT_LOG, which document it was asked about."""

import os
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from nearfar.graphs.extract import build_extract
from nearfar.graphs.fields import Fields, found_in


class Logging(BaseChatModel):
    """Finds what the built-in model would."""

    @property
    def _llm_type(self) -> str:
        return "logging"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        text = str(messages[-1].text)
        row = found_in(text, [], Fields.read({"vendor": "string", "total": "number"}))
        descriptor = os.open(os.environ["EXTRACT_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{row['vendor'].split()[1]}\n".encode())
        os.close(descriptor)
        reply = AIMessage(str(row).replace("'", '"'))
        return ChatResult(generations=[ChatGeneration(message=reply)])


graph = build_extract(Logging())
