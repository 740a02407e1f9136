"""The pages people read: an account's log, one item's, one event, and the element that hosts embed."""
