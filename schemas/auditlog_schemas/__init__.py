"""What an event is: Avro schema, catalog, model, rules, wire codec."""
