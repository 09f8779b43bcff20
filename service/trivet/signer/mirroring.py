"""Mirrors a cluster's RenewRevocations into Trivet: made, changed and gone there, made, changed and gone here.

It touches nothing in Trivet that it did not mirror from this very cluster, and lifts nothing unless the API server
itself says that the object is no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from trivet.client.errors import ClientError, ProblemError
from trivet.signer.asking import Refused, weigh
from trivet.signer.errors import CONFLICT, NOT_FOUND, ClusterError, StatusError
from trivet.signer.manifests import (
    CONFIRM,
    MIRRORED,
    Standing,
    as_sent,
    is_same,
    is_told,
    mirror_image,
    source_of,
    status_for,
)
from trivet.signer.resources import NAMESPACES, RENEW_REVOCATIONS
from trivet.signer.work_queue import Later

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from typing import Any

    from trivet.client.revocations import Stored
    from trivet.signer.asking import Asking
    from trivet.signer.cluster import Cluster
    from trivet.signer.informer import Informer
    from trivet.signer.record import Record
    from trivet.signer.resources import Object

SWEEP: Final = "*"
"""The key under which Trivet is searched for what is gone from the cluster."""

_MEANWHILE: Final = frozenset({"conflict", "preconditionFailed", "notFound"})


@dataclass
class Mirroring:
    """Works on RenewRevocations, one at a time.

    Attributes:
        cluster: whose they are.
        asking: Trivet.
        informer: holds all of them.
        again: have a key looked at.
        record: of what was done.
        now: the clock, for conditions.
    """

    cluster: Cluster
    asking: Asking
    informer: Informer
    again: Callable[[str], None]
    record: Record
    now: Callable[[], datetime]

    def attend(self, key: str) -> Later | None:
        """Do what there is to do for an object; when to come again, if it could not be done."""
        try:
            if key == SWEEP:
                self._sweep()
                return None
            found = self.informer.get(key)
            return self._lift(key) if found is None else self._mirror(key, found)
        except ClientError as error:
            weighed = weigh(error)
            return weighed if isinstance(weighed, Later) else Later("refused", weighed.message)
        except StatusError as error:
            return Later("statusRefused", str(error), error.retry_after)
        except ClusterError as error:
            return Later("clusterUnreachable", str(error), for_all=True)

    def _source_now(self) -> str:
        """What this cluster is called in marks: the UID of kube-system, by which clusters are told apart.

        Asked each time: the kubeconfig may lead to another cluster since.
        """
        uid = self.cluster.get(NAMESPACES, "kube-system")["metadata"].get("uid")
        return str(uid or self.cluster.server)

    def _is_there(self, found: Object, source: str) -> bool:
        """Whether the cluster of that mark has this very object: what is held may be from the one before."""
        metadata = found["metadata"]
        try:
            now = self.cluster.get(RENEW_REVOCATIONS, metadata["name"], metadata["namespace"])
        except StatusError as error:
            if error.code != NOT_FOUND:
                raise
            return False
        # Asked before the object and again after it: in between it was the same cluster that answered.
        return now["metadata"].get("uid") == metadata.get("uid") and self._source_now() == source

    def _sweep(self) -> None:
        source = self._source_now()
        held = set(self.informer.held())
        for standing in self.asking.revocations():
            key = f"{standing['metadata'].get('namespace', '')}/{standing['metadata']['name']}"
            if source_of(standing) == source and key not in held:
                self.again(key)

    def _lift(self, key: str) -> Later | None:
        namespace, _, name = key.partition("/")
        standing = self.asking.revocation(namespace, name)
        self.record.stands(key, None)
        if standing is None or source_of(standing.revocation) != self._source_now():
            return None
        try:
            self.informer.put(self.cluster.get(RENEW_REVOCATIONS, name, namespace))
        except StatusError as error:
            # Without the object's name it is not the object that is missing, but perhaps the whole kind.
            if error.code != NOT_FOUND or error.name != name:
                return Later(
                    "notConfirmed", f"whether {key} is gone cannot be seen, so it stays revoked: {error}"
                )
        else:
            return Later("conflict", f"{key} is there after all")
        try:
            self.asking.delete(namespace, name, standing.etag)
        except ProblemError as error:
            if error.slug in _MEANWHILE:
                return _changed_meanwhile(key)
            raise
        self.record.count("revocations", change="deleted")
        self.record.say("info", "lifted", f"{key} is gone from the cluster, and so from Trivet", object=key)
        return None

    def _mirror(self, key: str, found: Object) -> Later | None:
        source = self._source_now()
        image = mirror_image(found, source)
        metadata = found["metadata"]
        former = self.asking.revocation(metadata["namespace"], metadata["name"])
        if former is not None and (owner := source_of(former.revocation)) != source:
            return self._tell(key, found, _taken(key, owner))
        if former is not None and is_same(former.revocation, image):
            warnings = None if is_told(found) else self.asking.warnings(as_sent(image))
            return self._tell(key, found, self._holding(warnings))
        if not self._is_there(found, source):
            return Later("conflict", f"{key} is not in the cluster as it was told; it is looked at again")
        try:
            stored = self._put(image, former, (metadata.get("annotations") or {}).get(CONFIRM))
        except ProblemError as error:
            if error.slug in _MEANWHILE:
                return _changed_meanwhile(key)
            standing = _refused(error)
            if standing is None:
                raise
            return self._tell(key, found, standing)
        self._note(key, stored, "created" if former is None else "replaced")
        return self._tell(key, found, self._holding(stored.warnings))

    def _put(self, image: dict[str, Any], former: Stored | None, confirm: str | None) -> Stored:
        if former is None:
            return self.asking.create(as_sent(image), confirm)
        namespace, name = image["metadata"]["namespace"], image["metadata"]["name"]
        return self.asking.replace(namespace, name, as_sent(image), former.etag, confirm)

    def _note(self, key: str, stored: Stored, change: str) -> None:
        marked = stored.revocation.get("status", {}).get("marked")
        self.record.heard("answered", whom="trivet")
        self.record.count("revocations", change=change)
        self.record.say(
            "info", "mirrored", f"{key} holds in Trivet", object=key, change=change, marked=marked
        )
        for warning in stored.warnings:
            self.record.say("warning", "lockOut", f"{key}: {warning}", object=key, reason="lockOut")

    def _holding(self, warnings: Sequence[str] | None) -> Standing:
        words = f"Trivet refuses what it names in the cluster {self.asking.cluster}"
        return Standing(MIRRORED, words, warnings)

    def _tell(self, key: str, found: Object, standing: Standing) -> Later | None:
        """Write into the object's status how it stands, where that changed."""
        self.record.stands(key, standing.reason)
        status = status_for(found, standing, self.now())
        if status == found.get("status"):
            return None
        if not standing.holds:
            self.record.say(
                "error", "notMirrored", f"{key}: {standing.message}", object=key, reason=standing.reason
            )
        try:
            self.informer.put(self.cluster.write_status(RENEW_REVOCATIONS, {**found, "status": status}))
        except StatusError as error:
            if error.code == CONFLICT:
                self.informer.put(
                    self.cluster.get(RENEW_REVOCATIONS, found["metadata"]["name"], key.partition("/")[0])
                )
                return Later("conflict", f"{key} was changed meanwhile; it is looked at again")
            if error.code != NOT_FOUND:
                raise
            # It is gone, which the watch will tell; or this API server keeps no status.
            self.record.say("info", "statusNotWritten", f"{key} has no status to write", object=key)
        return None


def _changed_meanwhile(key: str) -> Later:
    return Later("conflict", f"{key} was changed in Trivet meanwhile; it is looked at again")


def _taken(key: str, owner: str | None) -> Standing:
    whose = "somebody made it there" if owner is None else f"it was mirrored from another cluster, {owner}"
    words = f"Trivet has a RenewRevocation {key}: {whose}. It is not touched; give this one another name"
    return Standing("NameTaken", words)


def _refused(error: ProblemError) -> Standing | None:
    """How an object stands that Trivet refuses; None where it is to be tried again."""
    if error.slug == "confirmationRequired":
        words = f"{error.detail} Here: annotate this object with {CONFIRM}: TOKEN."
        return Standing("ConfirmationRequired", words)
    if error.slug == "badRevocation":
        faults = "; ".join(f"{fault.pointer or '/'} {fault.detail}" for fault in error.faults)
        return Standing("Refused", f"{error.detail}: {faults}")
    weighed = weigh(error)
    return Standing("Refused", weighed.message) if isinstance(weighed, Refused) else None
