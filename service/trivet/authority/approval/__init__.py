"""Certificate requests that wait for approval, and who may make them: bootstrap tokens, rules, inventory."""
