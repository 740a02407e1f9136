"""HTTP API and web pages: the audit log that people read."""
