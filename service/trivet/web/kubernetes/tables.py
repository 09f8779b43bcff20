"""Tables: what `kubectl get` prints (meta/v1 Table)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trivet.web.kubernetes.documents import document_of, partial_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from trivet.store.changes import ObjectImage
    from trivet.web.kubernetes.resources import Resource

_SHOWN: Final = 60


def _column(name: str, kind: str, description: str, *, form: str = "", priority: int = 0) -> dict[str, Any]:
    return {"name": name, "type": kind, "format": form, "description": description, "priority": priority}


_COLUMNS: Final = [
    _column("Name", "string", "Name must be unique within a namespace.", form="name"),
    _column("Entries", "integer", "How many entries it has."),
    _column("Age", "string", "How long it has stood."),
    _column("Kinds", "string", "The kinds of its entries.", priority=1),
    _column("Description", "string", "What it is for.", priority=1),
]


def table_of(
    images: Sequence[ObjectImage],
    resource: Resource,
    now: datetime,
    metadata: dict[str, Any],
    *,
    include: str = "Metadata",
    with_columns: bool = True,
) -> dict[str, Any]:
    """A Table of objects; `include` says what of each object comes with its row."""
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": _COLUMNS if with_columns else [],
        "rows": [_row(image, resource, now, include) for image in images],
    }


def _row(image: ObjectImage, resource: Resource, now: datetime, include: str) -> dict[str, Any]:
    row: dict[str, Any] = {"cells": _cells(image, now)}
    if include == "Object":
        return row | {"object": document_of(image, resource)}
    return row | ({} if include == "None" else {"object": partial_of(image)})


def _cells(image: ObjectImage, now: datetime) -> list[Any]:
    spec = image.body.get("spec", {})
    entries = spec.get("revocations", [])
    kinds = ",".join(dict.fromkeys(str(entry.get("kind", "")) for entry in entries))
    described = str(spec.get("description", ""))
    shown = described if len(described) <= _SHOWN else described[: _SHOWN - 3] + "..."
    return [image.name, len(entries), human_duration(now - image.created_at), kinds, shown]


def human_duration(duration: timedelta) -> str:
    """A duration as kubectl writes it (apimachinery's util/duration)."""
    seconds = int(duration.total_seconds())
    if seconds < 0:
        return "<invalid>" if seconds < -1 else "0s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    for is_within, (whole, unit), (rest, small) in (
        (seconds < 2 * 60, (seconds, "s"), (0, "")),
        (minutes < 10, (minutes, "m"), (seconds % 60, "s")),  # noqa: PLR2004
        (minutes < 3 * 60, (minutes, "m"), (0, "")),
        (hours < 8, (hours, "h"), (minutes % 60, "m")),  # noqa: PLR2004
        (hours < 2 * 24, (hours, "h"), (0, "")),
        (hours < 8 * 24, (days, "d"), (hours % 24, "h")),
        (hours < 2 * 365 * 24, (days, "d"), (0, "")),
        (hours < 8 * 365 * 24, (days // 365, "y"), (days % 365, "d")),
    ):
        if is_within:
            return f"{whole}{unit}{rest}{small}" if rest else f"{whole}{unit}"
    return f"{days // 365}y"
