"""What a provider signs: schemas, ladders, tokens, sealing, pseudonyms."""
