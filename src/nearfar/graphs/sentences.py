"""Sentences of a passage; they live with retrieval, where agents find them too."""

from nearfar.retrieval.sentences import REFUSAL, Sentence, content_words, fold, sentences, stem

__all__ = ["REFUSAL", "Sentence", "content_words", "fold", "sentences", "stem"]
