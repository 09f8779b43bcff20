"""What Trivet counts and times of itself, and how it is told."""
