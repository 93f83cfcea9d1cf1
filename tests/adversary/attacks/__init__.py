"""The table of attacks on a running service: one row, one input, one expected refusal."""
