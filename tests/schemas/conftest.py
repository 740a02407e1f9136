"""Property tests here have no deadline for one example: the first one pays for imports and table builds."""

from hypothesis import settings

settings.register_profile("without_deadline", deadline=None)
settings.load_profile("without_deadline")
