"""The provider's side of records: mapping files, reading, the outbox."""
