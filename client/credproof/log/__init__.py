"""A verifiable log: entries, tree, checkpoints, proofs. It knows nothing of credit."""
