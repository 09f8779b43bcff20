"""The composition root: the only place that wires settings, keys, database, clock and front ends together."""

from __future__ import annotations
