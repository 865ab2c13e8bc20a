"""An embedding model for tests: words into a small vector, and it counts its work."""

import hashlib

from langchain_core.embeddings import Embeddings


class WordEmbeddings(Embeddings):
    """Texts that share words are alike. ``texts`` is what was embedded as documents, in order."""

    def __init__(self, name: str = "words") -> None:
        self.name = name
        self.fingerprint = f"test:{name}"
        self.texts: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.texts += texts
        return [self._vector(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self._vector(text)

    @staticmethod
    def _vector(text: str) -> list[float]:
        vector = [0.01] * 64
        for word in text.lower().split():
            digest = hashlib.sha256(word.strip(".,?!#").encode()).digest()
            vector[digest[0] % 64] += 1.0
        return vector
