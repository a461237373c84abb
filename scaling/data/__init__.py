"""Text to batches: `corpora` (documents), `tokenizer`, `tokens` (packed on disk), `batches` (example i of a run)."""
