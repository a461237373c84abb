"""Text to batches: `corpora` (documents), `tokenizer`, `encoding` (packed on disk), `batches` (example i of a run)."""
