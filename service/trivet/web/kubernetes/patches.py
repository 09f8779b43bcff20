"""JSON patches (RFC 6902), merge patches (RFC 7396) and strategic ones, on values as `json` gives them."""

from __future__ import annotations

import copy
import json
import re
from typing import TYPE_CHECKING, Any, Final

from trivet.web.kubernetes.bodies import DEEPEST, is_shallow
from trivet.web.kubernetes.status import StatusError, bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_OPERATIONS: Final = 10_000  # apiserver's maxJSONPatchOperations
_LARGEST: Final = 1024 * 1024  # of what operations copy or move; a body has no more, either
_DIRECTIVE: Final = "$patch"
_RETAINED: Final = "$retainKeys"
_LIST_DIRECTIVES: Final = ("$setElementOrder/", "$deleteFromPrimitiveList/")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")


def merge_patch(target: object, patch: object) -> Any:  # noqa: ANN401  a JSON value
    """The target with a merge patch applied; neither is changed."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def strategic_merge_patch(target: object, patch: object) -> Any:  # noqa: ANN401  a JSON value
    """The target with a strategic merge patch applied (apimachinery's util/strategicpatch); neither is changed.

    For objects none of whose lists is merged item by item, as a CertificateSigningRequest; so what kubectl says of the
    order of their items means nothing.

    Raises:
        StatusError: it holds a directive that there is not.
    """
    if not isinstance(patch, dict):
        return patch
    directive = patch.get(_DIRECTIVE, "merge")
    if directive not in ("merge", "replace", "delete"):  # a tuple: it may have no hash
        raise bad_request(f"error decoding patch: unknown patch type: {str(directive)[:100]}")
    if directive == "delete":
        return {}
    merged = dict(target) if isinstance(target, dict) and directive == "merge" else {}
    for key, value in patch.items():
        if key == _DIRECTIVE or key.startswith(_LIST_DIRECTIVES):
            continue
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = strategic_merge_patch(merged.get(key), value)
    if isinstance(retained := patch.get(_RETAINED), list):
        kept = {key for key in retained if isinstance(key, str)} - {_RETAINED}
        return {key: value for key, value in merged.items() if key in kept}
    return merged


def json_patch(target: object, operations: object) -> Any:  # noqa: ANN401  a JSON value
    """The target with a JSON patch applied; it is not changed itself.

    After each operation it is nested no deeper than a body may be, and no larger than what the patch says and copies.

    Raises:
        StatusError: the patch is no patch (400), does not fit or nests too deep (422), or is too much (413).
    """
    if not isinstance(operations, list) or not all(isinstance(item, dict) for item in operations):
        raise bad_request("error decoding patch: must be a list of operations")
    if len(operations) > _MOST_OPERATIONS:
        message = (
            f"The allowed maximum operations in a JSON patch is {_MOST_OPERATIONS}, got {len(operations)}"
        )
        raise StatusError(413, "RequestEntityTooLarge", message)
    document, carried = copy.deepcopy(target), 0
    for operation in operations:
        if operation.get("op") in ("copy", "move"):  # no set: it may be a list
            carried += len(json.dumps(_get(document, _path(operation, "from"))))
            if carried > _LARGEST:
                raise StatusError(413, "RequestEntityTooLarge", "the patch copies and moves too much")
        document = _apply(document, operation)
    return document


def _apply(document: Any, operation: Mapping[str, Any]) -> Any:  # noqa: ANN401  a JSON value
    path = _path(operation, "path")
    match operation.get("op"):
        case "add":
            return _add(document, path, _value(operation))
        case "remove":
            return _remove(document, path)
        case "replace":
            return _replace(document, path, _value(operation))
        case "move":
            source = _path(operation, "from")
            if path[: len(source)] == source and path != source:
                raise _unfit("cannot move a value into itself")
            value = _get(document, source)
            return _add(_remove(document, source), path, value)
        case "copy":
            return _add(document, path, copy.deepcopy(_get(document, _path(operation, "from"))))
        case "test":
            if not _same(_get(document, path), _value(operation)):
                raise _unfit(f"testing value {operation['path'][:200]} failed")
            return document
        case _:
            raise bad_request("error decoding patch: op must be add, remove, replace, move, copy or test")


def _path(operation: Mapping[str, Any], name: str) -> list[str]:
    """RFC 6901 section 4."""
    text = operation.get(name)
    if not isinstance(text, str) or (text and not text.startswith("/")) or re.search(r"~(?![01])", text):
        raise bad_request(f"error decoding patch: {name} must be a JSON pointer")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _value(operation: Mapping[str, Any]) -> Any:  # noqa: ANN401  a JSON value
    if "value" not in operation:
        raise bad_request("error decoding patch: this operation needs a value")
    return copy.deepcopy(operation["value"])


def _get(document: Any, path: list[str]) -> Any:  # noqa: ANN401  a JSON value
    for part in path:
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list):
            document = document[_index(part, len(document) - 1)]
        else:
            raise _unfit(f"there is no {part[:100]!r} at its path")
    return document


def _add(document: Any, path: list[str], value: object) -> Any:  # noqa: ANN401  a JSON value
    _check_depth(path, value)
    if not path:
        return value
    place, last = _get(document, path[:-1]), path[-1]
    if isinstance(place, dict):
        place[last] = value
    elif isinstance(place, list):
        place.insert(len(place) if last == "-" else _index(last, len(place)), value)
    else:
        raise _unfit("its path leads into something that has no members")
    return document


def _remove(document: Any, path: list[str]) -> Any:  # noqa: ANN401  a JSON value
    if not path:
        raise _unfit("the whole object cannot be removed")
    place, last = _get(document, path[:-1]), path[-1]
    _get(place, [last])
    del place[last if isinstance(place, dict) else int(last)]
    return document


def _replace(document: Any, path: list[str], value: object) -> Any:  # noqa: ANN401  a JSON value
    _check_depth(path, value)
    _get(document, path)
    if not path:
        return value
    place, last = _get(document, path[:-1]), path[-1]
    place[last if isinstance(place, dict) else int(last)] = value
    return document


def _check_depth(path: list[str], value: object) -> None:
    if not is_shallow(value, DEEPEST - len(path)):
        raise _unfit(f"it would nest more than {DEEPEST} deep")


def _index(text: str, most: int) -> int:
    if not _INDEX.fullmatch(text) or int(text) > most:
        raise _unfit(f"there is no item {text[:20]!r}")
    return int(text)


def _same(one: object, other: object) -> bool:
    """Equal as JSON has it: true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _unfit(message: str) -> StatusError:
    text = f"the server rejected our request due to an error in our request: {message}"
    return StatusError(422, "Invalid", text, about={})
