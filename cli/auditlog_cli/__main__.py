"""`python -m auditlog_cli`: the same as `auditlog`."""

from auditlog_cli.main import main

main()
