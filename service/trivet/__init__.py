"""Trivet: a certificate authority for Kubernetes clusters on people's own hardware."""

from __future__ import annotations

from importlib.metadata import version

__version__ = version("trivet")
