"""Use cases: what the service does, without gRPC and without SQL."""
