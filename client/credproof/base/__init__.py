"""The ground: errors, limits, encodings, signatures, the ristretto255 group."""
