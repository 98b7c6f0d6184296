"""The tables of results: what is compared, trained, scored, kept and read back."""
