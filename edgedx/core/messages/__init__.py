"""Sentences for people, by language: plain files ``TOPIC.LANGUAGE.json`` beside this one, and `say`."""

from .catalogue import LANGUAGES, Language, best_language, keys, knows, say

__all__ = ["LANGUAGES", "Language", "best_language", "keys", "knows", "say"]
