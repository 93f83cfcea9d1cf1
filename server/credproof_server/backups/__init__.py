"""Backups and restores: a restored log must go on where it was signed, and nobody comes back.

A backup has two parts that are kept apart: the main part (log, rows, keys of the service), and
the data keys of the borrowers, whose copies decide how long an erased person could come back.
Neither holds the key-encryption key or the offline root. The high-water mark is in no backup.
"""
