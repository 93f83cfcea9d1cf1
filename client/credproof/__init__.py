"""credproof: ask about a borrower's credit and get a proof, not a file."""

__version__ = "0.1.0"
