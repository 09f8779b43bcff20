"""The command `trivet`, a file per command. Server packages, which the base install lacks, come late."""

from __future__ import annotations
