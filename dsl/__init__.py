"""The language: workflows as data, and the walk over them. Nothing here knows a thread, a clock or a database."""
