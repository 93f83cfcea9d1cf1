"""The consent page: where borrowers enrol, consent and revoke by a passkey. Needs `[page]`."""
