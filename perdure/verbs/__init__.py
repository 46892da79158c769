"""What may be said to an engine or a client, one noun a file."""
