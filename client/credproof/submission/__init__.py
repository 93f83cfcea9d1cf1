"""Submitting records in bulk: plan, attest, send."""
