"""Benchmarks: Trivet beside the limit of the machine and beside its peers. Run with `python -m bench`."""
