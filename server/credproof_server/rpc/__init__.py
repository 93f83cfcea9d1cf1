"""gRPC: who calls, what they may, and the translation of errors."""
