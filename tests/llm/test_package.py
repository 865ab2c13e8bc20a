"""The names of ``nearfar.llm`` mean the same in whatever order its modules are loaded."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "first",
    [
        "import nearfar.llm.embeddings",
        "from nearfar.llm.embeddings import LocalEmbeddings",
        "import nearfar; nearfar.LocalEmbeddings",
        "from nearfar.llm import embeddings",
        "pass",
    ],
)
def test_embeddings_is_the_function_and_not_the_module_of_that_name(first: str) -> None:
    program = (
        f"{first}\nimport nearfar, nearfar.llm\n"
        "assert callable(nearfar.embeddings) and callable(nearfar.llm.embeddings)\n"
        "from nearfar.llm.embeddings import LocalEmbeddings\n"
        "assert isinstance(nearfar.embeddings(), LocalEmbeddings)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
