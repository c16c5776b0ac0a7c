"""Character language models: from raw text to word embeddings. No scheduler or tracker is needed here."""
