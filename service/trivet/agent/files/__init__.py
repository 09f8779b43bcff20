"""The files of a node: read and replaced so that a crash at any moment leaves a pair that works.

    files = NodeFiles(root)             # Path("/"), or a folder to stand in for it
    files.recover(plan)                 # once, at the start: mends what a crash left
    pair = files.read(planned)          # KeyPair, or None where there is nothing yet
    files.install(planned, KeyPair(chain, key), bundle)

Two files cannot be renamed in one step. As Kubernetes' AtomicWriter does for mounted secrets, both are written
complete into a folder beside the pair, and one symbolic link is switched (docs/adr/0016).

Every method raises `FileFaultError`, which tells the path and the reason, and nothing else of the disk's.
"""

from __future__ import annotations

from trivet.agent.files.disk import Disk
from trivet.agent.files.errors import FileFaultError, FileReason
from trivet.agent.files.node import NodeFiles
from trivet.agent.files.pairs import KeyPair, key_pair_from_pem

__all__ = ["Disk", "FileFaultError", "FileReason", "KeyPair", "NodeFiles", "key_pair_from_pem"]
