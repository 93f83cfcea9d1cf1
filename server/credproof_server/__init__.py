"""The credproof service: what the operator runs. Needs the extra `credproof[server]`."""
