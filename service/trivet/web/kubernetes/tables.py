"""Tables: what `kubectl get` prints (meta/v1 Table)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trivet.web.kubernetes.documents import document_of, partial_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from trivet.store.changes import ObjectImage
    from trivet.web.kubernetes.objects import Objects
    from trivet.web.kubernetes.resources import Resource


def column(name: str, kind: str, description: str, *, form: str = "", priority: int = 0) -> dict[str, Any]:
    """The definition of a column; `priority` 1 is shown with `-o wide` only."""
    return {"name": name, "type": kind, "format": form, "description": description, "priority": priority}


def table_of(
    images: Sequence[ObjectImage],
    resource: Resource,
    objects: Objects,
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
        "columnDefinitions": list(objects.COLUMNS) if with_columns else [],
        "rows": [_row(image, resource, objects, now, include) for image in images],
    }


def _row(
    image: ObjectImage, resource: Resource, objects: Objects, now: datetime, include: str
) -> dict[str, Any]:
    row: dict[str, Any] = {"cells": objects.cells(image, human_duration(now - image.created_at))}
    if include == "Object":
        return row | {"object": document_of(image, resource)}
    return row | ({} if include == "None" else {"object": partial_of(image)})


def human_duration(duration: timedelta) -> str:
    """A duration as kubectl writes it (apimachinery's util/duration)."""
    return human_seconds(int(duration.total_seconds()))


def human_seconds(seconds: int) -> str:
    """The same, of whole seconds."""
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
