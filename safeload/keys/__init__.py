"""Keys, keyrings and signers: who may sign what, and whose signatures are trusted."""
