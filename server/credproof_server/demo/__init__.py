"""The demo: the whole journey on real data, then six lies that are caught."""
