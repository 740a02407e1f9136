"""The commands, one in each module. A module imports what its command needs only when it runs."""
