"""What `auditlog doctor` looks at."""
