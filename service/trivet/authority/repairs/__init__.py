"""What `authority.repair` is made of: who is let in, on what ground, how far a repair is and what bars its way."""
