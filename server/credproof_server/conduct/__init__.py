"""Misuse: rules in a document, and pure functions that find it in what was counted."""
