"""The only SQL. SQLite and PostgreSQL behind one set of typed functions, one file per aggregate."""
