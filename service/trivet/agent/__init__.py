"""What runs on a node: plans, files, and what keeps certificates alive there.

It knows `client` and `pki` only, so that a node needs no package of the server.
"""
