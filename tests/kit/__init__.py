"""What several tests share: events that are valid, and messages that are not."""
