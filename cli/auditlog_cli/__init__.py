"""The `auditlog` command."""
