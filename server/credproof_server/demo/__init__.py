"""The demo: the whole journey on real data, then four lies that are caught."""
