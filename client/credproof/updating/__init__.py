"""Finding the newest trust bundle by TUF (The Update Framework, specification 1.0)."""
