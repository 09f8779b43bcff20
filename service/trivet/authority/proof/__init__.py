"""Proof of what was decided: chains of records, checkpoints that seal them, exports and explanations."""
