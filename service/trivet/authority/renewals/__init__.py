"""When certificates renew: what a cluster holds, what is suggested, and how long it survives alone."""
