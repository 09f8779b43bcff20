"""Proof of every decision: records in chains of hashes, sealed by signed checkpoints.

    lines        the form of a record, and its hash
    entries      which revocation entries stood at a version, and what they say of a decision
    sequence     the chains and checkpoints of an export, followed line by line
    verify       all that is checked of an export
    explain      was a serial number denied at a time, and by which entry?

An export is JSON lines. Each line is the canonical form of its record, and its SHA-256 is what the next record of its
chain carries; so `sha256sum` and `jq` are enough to follow a chain by hand.
"""
