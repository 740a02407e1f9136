"""Publish one audit event: python examples/publish.py localhost:9092."""

import sys

from auditlog_producers import Actor, AuditProducer, Change, Entity

with AuditProducer(sys.argv[1], service="licensing") as audit:
    handle = audit.record(
        account_id="acc_1",
        action="license_reset",
        entity=Entity(type="license", id="lic_1", name="Pro seat"),
        actor=Actor(type="platform_user", id="usr_7", name="Ada Lovelace"),
        changes=[Change.of("activations", before=3, after=0)],
    )
    print(handle.result())
