"""A sample host: the vendor's own application, with an item's audit log on every detail page."""
