"""Cross entropy on the source and nothing else: the lower bound.

A config of it takes the runtime's hooks alone: no rounds, no teacher, no statistics of the target.
"""

title = "Source only"
method = dict(terms=dict(source=dict(type="SegmentationTerm", domain="source")))
