"""The demonstration: a realistic day of a software-licensing platform."""
