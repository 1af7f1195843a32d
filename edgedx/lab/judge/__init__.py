"""A model asked and judged: figures, evaluation, gate."""
