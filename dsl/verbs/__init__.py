"""What a workflow can be told, one noun a file; `Workflow` puts them together."""
