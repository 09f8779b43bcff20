"""The only private keys. They are stored encrypted, opened in memory, and never shown."""
