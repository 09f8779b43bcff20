"""HTTP: translates requests into use cases and their results into answers; no rule of its own."""
