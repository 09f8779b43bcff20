"""One batch, from application to certificate: what `authority.issue` and `authority.renew` are made of."""
