"""Names of the images that the fixture `street` writes."""

NAMES = ["a/one", "a/two", "b/three", "b/four", "five"]
