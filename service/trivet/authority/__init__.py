"""Use cases, one verb a file. Each is a synchronous function over a database and a keyring."""
