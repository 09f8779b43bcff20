-- Runs once, when the database is made. Trivet's role owns its database and is no superuser.
\set password `cut -d: -f5 /run/secrets/pgpass`
CREATE ROLE trivet LOGIN PASSWORD :'password';
CREATE DATABASE trivet OWNER trivet;
REVOKE ALL ON DATABASE trivet FROM PUBLIC;
