"""An answer as a regulator reads it years later: one HTML page, complete in itself."""
