"""A custodian: a second party that holds a share of the OPRF key, in a process of its own."""
