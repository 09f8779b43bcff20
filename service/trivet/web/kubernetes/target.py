"""What a path below `/kubernetes/{cluster}` names (apiserver's request info)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from trivet.web.kubernetes.resources import RESOURCES, Resource

if TYPE_CHECKING:
    from collections.abc import Mapping

_VERBS: Final = {
    "GET": "get",
    "HEAD": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
_OF_COLLECTION: Final = {"get": "list", "delete": "deletecollection"}
_NAMED_PARTS: Final = 3  # a name, a subresource, and no more


@dataclass(frozen=True, slots=True)
class Target:
    """A resource, or an object of it, or (without a resource) a path.

    Attributes:
        path: below the cluster.
        verb: what is to be done with it, as RBAC has it.
        resource: what is known of it; None for what there is not.
    """

    path: str
    verb: str
    group: str = ""
    version: str = ""
    plural: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    resource: Resource | None = None

    @property
    def kind(self) -> str:
        """The kind of the objects."""
        return self.resource.kind if self.resource else self.plural

    @property
    def qualified(self) -> str:
        """The resource with its group, as messages have it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        """The kind with its group."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    def forbidden(self, user: str) -> str:
        """That the user may not do it (apiserver's responsewriters/errors.go)."""
        if not self.plural:
            return f'forbidden: User "{user}" cannot {self.verb} path "{self.path}"'
        resource = f"{self.plural}/{self.subresource}" if self.subresource else self.plural
        about = f'{self.qualified} "{self.name}"' if self.name else self.qualified
        where = f'in the namespace "{self.namespace}"' if self.namespace else "at the cluster scope"
        return (
            f'{about} is forbidden: User "{user}" cannot {self.verb} resource "{resource}"'
            f' in API group "{self.group}" {where}'
        )

    def named(self, name: str, namespace: str | None = None) -> Target:
        """The same, of an object whose name is known now."""
        return replace(self, name=name, namespace=self.namespace if namespace is None else namespace)


def target_of(method: str, path: str, query: Mapping[str, str]) -> Target:
    """What a request is about."""
    parts = path.strip("/").split("/")
    verb = _VERBS.get(method, method.lower())
    match parts:
        case ["api", version, *rest] if rest:
            return _resource(path, verb, "", version, rest, query)
        case ["apis", group, version, *rest] if rest:
            return _resource(path, verb, group, version, rest, query)
        case _:
            return Target(path, verb)


def _resource(
    path: str, verb: str, group: str, version: str, rest: list[str], query: Mapping[str, str]
) -> Target:
    namespace = ""
    # Below a namespace there are resources; a namespace itself is one, too.
    if rest[0] == "namespaces" and len(rest) >= _NAMED_PARTS:
        namespace, rest = rest[1], rest[2:]
    if len(rest) > _NAMED_PARTS:
        return Target(path, verb)
    plural, name, subresource = (*rest, "", "")[:_NAMED_PARTS]
    resource = RESOURCES.get((group, version, plural))
    if not name:
        verb = _OF_COLLECTION.get(verb, verb)
        if verb == "list" and is_set(query.get("watch")):
            verb = "watch"
    return Target(path, verb, group, version, plural, namespace, name, subresource, resource)


def is_set(value: str | None) -> bool:
    """A boolean of a query, as apimachinery's Convert_Slice_string_To_bool reads it."""
    return value is not None and value.lower() not in {"0", "false"}
