"""Other certificate authorities, on the same machine and the same work. Those that are not installed are left out."""
