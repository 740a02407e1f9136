"""The SDK that services publish with."""
